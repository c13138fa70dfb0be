"""Real models through every pair of formats: the same numbers to the bit, and the same greedy tokens."""

import json
from functools import cache
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from model_folders import converted
from tiny_models import Session

from fairway.errors import FairwayError
from fairway.formats.open import open_bundle
from fairway.kernels.select import select_backend
from fairway.models.loader import load_model

MODELS = ("babyllama", "stories260k")
FORMATS = ("safetensors", "gguf", "onnx", "modelfile")
"""Those that are read as models, too; OpenVINO's IR is only written."""
NUM_TOKENS = 40


@pytest.fixture(scope="module")
def once(shared, tmp_path_factory):
    """once(model, *formats): the path of a model that went through these formats, each made once."""

    @cache
    def make(model: str, *formats: str) -> Path:
        if not formats:
            return shared / "models" / model
        *before, to = formats
        out = tmp_path_factory.mktemp("-".join(formats)) / (f"{model}.gguf" if to == "gguf" else model)
        published = converted(make(model, *before), to, out)
        assert published.verdict.passed
        return out

    return make


def greedy(path: Path, prompt: list[int], count: int) -> list[int]:
    session, tokens = Session(load_model(open_bundle(path), select_backend())), []
    logits = session.feed(prompt)[-1]
    for _ in range(count):
        tokens.append(int(np.argmax(logits)))
        logits = session.feed(tokens[-1:])[-1]
    return tokens


def golden(shared: Path, model: str) -> tuple[list[int], list[int]]:
    """Prompt and continuation, as transformers gave them."""
    stated = json.loads((shared / "models" / model / "golden.json").read_text())
    prompt = stated["prompt_ids"]
    return prompt, stated["greedy_ids"][len(prompt) : len(prompt) + NUM_TOKENS]


def same_numbers(first: Path, second: Path) -> None:
    one, two = (open_bundle(path).tensors for path in (first, second))
    assert set(one.infos) == set(two.infos)
    for name, info in one.infos.items():
        assert info == two.infos[name]
        np.testing.assert_array_equal(one.read(name).values, two.read(name).values, name)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("first", "second"), list(permutations(FORMATS, 2)))
def test_there_and_back_is_the_same_model(shared, once, model, first, second):
    prompt, wanted = golden(shared, model)
    there, back = once(model, first, second), once(model, first, second, "safetensors")
    assert greedy(there, prompt, len(wanted)) == wanted
    same_numbers(shared / "models" / model, there)
    same_numbers(shared / "models" / model, back)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("first", FORMATS)
def test_openvino_says_the_same_from_any_format(shared, once, model, first, tmp_path):
    pytest.importorskip("openvino", reason="openvino is not installed")
    from fairway.convert.graph_runtimes import OpenVino

    prompt, wanted = golden(shared, model)
    converted(once(model, first), "openvino", tmp_path / "ir", type="F32")
    run = OpenVino(tmp_path / "ir" / "openvino_model.xml")
    ids = list(prompt)
    for _ in wanted:
        ids.append(int(np.argmax(run(np.array(ids, np.int32))[-1])))
    assert ids[len(prompt) :] == wanted


def test_an_ir_is_no_source_and_says_what_is(tmp_path):
    ir = '<?xml version="1.0"?>\n<net name="m" version="11"><layers></layers><edges></edges></net>\n'
    (tmp_path / "openvino_model.xml").write_text(ir)
    with pytest.raises(FairwayError, match="OpenVINO") as caught:
        converted(tmp_path / "openvino_model.xml", "gguf", tmp_path / "out.gguf")
    assert caught.value.hint
