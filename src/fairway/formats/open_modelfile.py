"""A Modelfile as a `Bundle`: the model that FROM names, with what the other instructions say.

FROM and ADAPTER are paths as Ollama reads them, relative to the Modelfile; whatever lies there goes
through the same readers as any other model, and nothing of it is executed. TEMPLATE becomes Jinja.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fairway.errors import FormatError, ModelNotFound, UnsupportedError
from fairway.formats.bundle import Bundle, GenerationDefaults, Preset
from fairway.formats.identify import identify
from fairway.formats.modelfile import FILE_NAME, Modelfile, read_modelfile

GENERATION = {
    "temperature": "temperature",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repeat_penalty": "repetition_penalty",
    "num_predict": "max_tokens",
}
"""Ollama's parameter -> ours, in `GenerationDefaults`."""
PRESET = {
    "seed": "seed",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "num_ctx": "context",
}
WHOLE = frozenset({"top_k", "num_predict", "seed", "num_ctx"})
UNLIMITED = frozenset({"top_k", "num_predict", "num_ctx"})
"""Of these, zero and negative numbers say that there is no limit."""
MAX_STOPS = 64
_MODEL_NAME = re.compile(r"[A-Za-z0-9_.\-/:]+")


def modelfile_bundle(path: Path, open_model: Callable[[Path], Bundle]) -> Bundle:
    """`open_model` opens what FROM names. Raises `FormatError`, `ModelNotFound` or `UnsupportedError`."""
    modelfile = read_modelfile(path)
    base_path = _base(path, modelfile)
    bundle = open_model(base_path)
    stated, unused = _parameters(path, modelfile)
    template = modelfile.last("template")
    return replace(
        bundle,
        name=path.resolve().parent.name if path.name == FILE_NAME else path.stem,
        chat_template=bundle.chat_template if template is None else _as_jinja(template),
        generation=_generation(bundle.generation, stated),
        licence=_licence(modelfile) or bundle.licence,
        warnings=(*bundle.warnings, *_warnings(modelfile, unused)),
        preset=_preset(path, modelfile, stated),
    )


def _base(path: Path, modelfile: Modelfile) -> Path:
    """The first FROM; others name parts of other kinds (projectors, drafts)."""
    value = modelfile.all("from")[0]
    base = _located(path, "FROM", value)
    if base.is_file() and identify(base).format == "modelfile":
        raise UnsupportedError(
            f"FROM of {path} names another Modelfile.", hint="Name the model's own file or folder in it."
        )
    return base


def _located(path: Path, instruction: str, value: str) -> Path:
    try:
        named = Path(value).expanduser()
        located = named if named.is_absolute() else path.parent / named
        exists = located.exists()
    except (OSError, ValueError, RuntimeError) as error:
        raise FormatError(f"{instruction} of {path} is {value[:60]!r}, which is not a path.") from error
    if exists:
        return located
    if instruction == "FROM" and _MODEL_NAME.fullmatch(value) and not value.startswith((".", "/")):
        raise ModelNotFound(
            f"FROM of {path} is {value[:60]!r}: no file or folder beside it has that name.",
            hint="Names of Ollama's library are not fetched. Name a .gguf file or a model's folder.",
        )
    raise ModelNotFound(
        f"{instruction} of {path} names {str(located)[:200]}, and there is nothing.",
        hint="Paths are relative to the Modelfile.",
    )


def _as_jinja(template: str) -> str:
    from fairway.text.jinja_from_go import jinja_from_go

    return jinja_from_go(template)


def _parameters(path: Path, modelfile: Modelfile) -> tuple[dict[str, float], list[str]]:
    """Ollama's name -> its number, of those that are used; and the names of the others."""
    stated: dict[str, float] = {}
    unused = []
    for name, values in modelfile.parameters.items():
        if name in GENERATION or name in PRESET:
            stated[name] = _number(path, name, values[-1])
        elif name != "stop":
            unused.append(name)
    return stated, unused


def _number(path: Path, name: str, text: str) -> float:
    try:
        value = int(text) if name in WHOLE else float(text)
    except ValueError as error:
        raise _impossible(path, name, text) from error
    if not math.isfinite(value) or abs(value) >= 1 << 53:
        raise _impossible(path, name, text)
    return value


def _impossible(path: Path, name: str, text: str) -> FormatError:
    kind = "a whole number" if name in WHOLE else "a number"
    return FormatError(f"PARAMETER {name} of {path} is {text[:40]!r}; it must be {kind}.")


def _generation(base: GenerationDefaults, stated: Mapping[str, float]) -> GenerationDefaults:
    given: dict[str, Any] = {
        ours: _limit(name, stated[name]) for name, ours in GENERATION.items() if name in stated
    }
    return replace(base, **given)


def _limit(name: str, value: float) -> float | None:
    return None if name in UNLIMITED and value <= 0 else value


def _preset(path: Path, modelfile: Modelfile, stated: Mapping[str, float]) -> Preset:
    given: dict[str, Any] = {
        ours: _limit(name, stated[name]) for name, ours in PRESET.items() if name in stated
    }
    stops = [stop for stop in modelfile.parameters.get("stop", ()) if stop]
    if len(stops) > MAX_STOPS:
        raise FormatError(f"{path} has {len(stops)} stop strings; at most {MAX_STOPS} are used.")
    return Preset(
        system=modelfile.last("system") or None,
        messages=modelfile.messages,
        stop=tuple(dict.fromkeys(stops)),
        adapters=tuple(_located(path, "ADAPTER", value) for value in modelfile.all("adapter")),
        ollama_template=modelfile.last("template"),
        requires=modelfile.last("requires"),
        **given,
    )


def _licence(modelfile: Modelfile) -> str | None:
    """The first line of the first licence, as of a LICENSE file."""
    lines = (line.strip(" #\t") for text in modelfile.all("license") for line in text.splitlines())
    return next((line[:120] for line in lines if line), None)


def _warnings(modelfile: Modelfile, unused: list[str]) -> list[str]:
    warnings = []
    if unused:
        warnings.append(f"PARAMETER {', '.join(sorted(unused))} of the Modelfile is not used here."[:300])
    if len(modelfile.all("from")) > 1:
        warnings.append("The Modelfile has several FROM: the first is the model, the others were not opened.")
    for name in ("renderer", "parser", "draft"):
        if modelfile.last(name) is not None:
            warnings.append(f"{name.upper()} of the Modelfile is a part of Ollama and is not used here.")
    return warnings
