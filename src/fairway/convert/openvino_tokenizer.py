"""The tokenizer and detokenizer beside an IR, made by OpenVINO's own converter and tried on the battery.

OpenVINO GenAI turns text into tokens with them. Knows no model. The rule: they are published with the share
of strings that they read as the source does, and not at all where that is too little.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fairway.convert.graph_runtimes import is_installed, library
from fairway.errors import FairwayError
from fairway.formats.bundle import TokenizerSource
from fairway.proof.strings import battery_strings
from fairway.text.loader import load_tokenizer

NAMES = ("openvino_tokenizer.xml", "openvino_detokenizer.xml")
LIBRARIES = ("openvino_tokenizers", "transformers")
LEAST_ALIKE = 0.95
"""Share of the battery's strings. OpenVINO's differ in NUL bytes and rare marks; more is another one."""


def write_tokenizers(folder: Path, source: TokenizerSource | None) -> str:
    """Makes both from the folder's tokenizer.json; says in a few words what became of them."""
    if source is None:
        return "no tokenizer"
    if missing := [name for name in LIBRARIES if not is_installed(name)]:
        return f"without OpenVINO's tokenizer ({missing[0]} is not installed)"
    try:
        models = _converted(folder)
        alike, total = _alike(models[0], source)
    except (FairwayError, RuntimeError, ValueError, TypeError, KeyError, OSError) as error:
        return f"without OpenVINO's tokenizer ({str(error).splitlines()[0][:80]})"
    if alike < LEAST_ALIKE * total:
        return f"without OpenVINO's tokenizer (it reads only {alike:,} of {total:,} strings alike)"
    openvino = library("openvino", "openvino")
    for name, model in zip(NAMES, models, strict=True):
        openvino.save_model(model, str(folder / name))
    return f"OpenVINO's tokenizer reads {alike:,} of {total:,} strings alike"


def _converted(folder: Path) -> tuple[Any, Any]:
    """The tokenizer of the folder itself: nothing is looked for on a hub, and no code of it is run."""
    transformers = library("transformers", "genai")
    tokenizer = transformers.AutoTokenizer.from_pretrained(
        str(folder), local_files_only=True, trust_remote_code=False
    )
    made: tuple[Any, Any] = library("openvino_tokenizers", "genai").convert_tokenizer(
        tokenizer, with_detokenizer=True
    )
    return made


def _alike(model: Any, source: TokenizerSource) -> tuple[int, int]:  # noqa: ANN401 (OpenVINO's own)
    """Strings of the battery with the same ids, and all of them."""
    run, ours = library("openvino", "openvino").compile_model(model, "CPU"), load_tokenizer(source)
    results = [
        list(ours.encode(text)) == [int(each) for each in run([text])["input_ids"][0]]
        for _, text in battery_strings(quick=True)
    ]
    return sum(results), len(results)
