"""Our figures beside those that transformers and torch computed for the same pair of models."""

import json
from pathlib import Path

import numpy as np
import pytest
from proof_models import builtin, with_tensors

from fairway.kernels.select import select_backend
from fairway.models.conversion import floats_of
from fairway.proof.hop import Side
from fairway.proof.logits import compare_logits
from fairway.proof.recorded import record_weights
from fairway.tensors import DenseTensor
from fairway.text.loader import load_tokenizer

GOLDEN = json.loads((Path(__file__).parent / "data" / "transformers-figures.json").read_text("utf-8"))


def shortened(values):
    """float32 with the lower mantissa bits cut off."""
    mask = np.uint32(~((1 << (23 - GOLDEN["kept_bits"])) - 1) & 0xFFFFFFFF)
    return (np.ascontiguousarray(values).view(np.uint32) & mask).view(np.float32)


def test_figures_are_those_of_transformers_and_torch():
    source, backend = builtin(), select_backend()
    made = {
        n: DenseTensor("f32", shortened(floats_of(source.tensors.read(n)))) for n in Side(source).linear_names
    }
    sides = [record_weights(Side(bundle), 1024, backend) for bundle in (source, with_tensors(source, **made))]
    ids = [np.array(window, np.int32) for window in GOLDEN["ids"]]
    found = compare_logits(sides[0], sides[1], ids, "golden")
    assert found.num_tokens == sum(len(window) - 1 for window in ids)
    for name, value in GOLDEN["figures"].items():
        tolerance = 0.003 if name == "same_top" else 2e-4 * value
        assert getattr(found, name) == pytest.approx(value, abs=tolerance), name


def test_the_ids_are_ours_too():
    text = "\n".join(
        (Path(__file__).parents[2] / "src/fairway/proof/evaluation.txt").read_text("utf-8").split("\n%%\n")
    )
    first = GOLDEN["ids"][0]
    assert load_tokenizer(builtin().tokenizer).encode(text[:2000])[:100] == first[:100]
