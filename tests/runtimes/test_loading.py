"""Real models through the whole runtime: the same tokens as transformers, from every container."""

import json
from contextlib import closing
from pathlib import Path

import pytest

from fairway.engine.sampling_params import SamplingParams
from fairway.formats.open import open_bundle
from fairway.runtimes.loading import NativeOptions, load_runtime
from fairway.runtimes.protocol import GenerationRequest

MODELS = Path(__file__).parents[3] / "shared" / "data" / "models"
needs_data = pytest.mark.skipif(not MODELS.is_dir(), reason="needs ../shared/data/models")
CONTAINERS = [
    ("stories260k", "."),
    ("stories260k", "stories260k-f32.gguf"),
    ("babyllama", "."),
    ("babyllama", "babyllama-f32.gguf"),
]


def load(path: Path, context: int):
    options = NativeOptions("model", "stored", context, "f32", num_blocks=2 * context // 16)
    return load_runtime(open_bundle(path), options)


def answer(runtime, ids, count: int) -> tuple[list[int], str]:
    request = GenerationRequest(ids, SamplingParams(temperature=0.0, max_tokens=count, ignore_eos=True))
    deltas = list(runtime.generate(request))
    return [i for delta in deltas for i in delta.token_ids], "".join(delta.text for delta in deltas)


@needs_data
@pytest.mark.parametrize(("model", "container"), CONTAINERS)
def test_greedy_output_equals_transformers_to_the_last_id(model, container):
    golden = json.loads((MODELS / model / "golden.json").read_text("utf-8"))
    expected = golden["greedy_ids"]
    with closing(load(MODELS / model / container, context=256)) as runtime:
        prompt = runtime.tokenizer.encode(golden["prompt"])
        assert prompt == golden["prompt_ids"]
        ids, text = answer(runtime, prompt, len(expected) - len(prompt))
    assert prompt + ids == expected
    assert golden["prompt"] + text == golden["greedy_text"]


@needs_data
def test_progress_counts_every_tensor():
    seen = []
    options = NativeOptions("model", "stored", 64, "f32", num_blocks=8)
    with closing(load_runtime(open_bundle(MODELS / "babyllama"), options, lambda *step: seen.append(step))):
        done, total, _ = seen[-1]
    assert done == total == len(seen)
