"""Parameter counts from a config alone; random models of any shape."""

import time

import numpy as np
import pytest
from model_cases import CASES
from published_shapes import SHAPES
from tiny_models import Session

from fairway.errors import FormatError
from fairway.kernels.reference import ReferenceBackend
from fairway.models.families import read_config
from fairway.models.loader import load_model
from fairway.models.random import random_bundle
from fairway.models.sizes import expected_tensors, num_parameters


@pytest.mark.parametrize("name", SHAPES)
def test_parameter_count_of_published_models(name: str) -> None:
    config, count = SHAPES[name]
    assert num_parameters(read_config(config)) == count


def test_counting_a_large_model_is_instant_and_needs_no_memory() -> None:
    config, _ = SHAPES["Llama-2-7b"]
    start = time.perf_counter()
    large = read_config(
        {**config, "num_hidden_layers": 126, "hidden_size": 16384, "intermediate_size": 53248}
    )
    assert num_parameters(large) > 300e9
    assert time.perf_counter() - start < 30


@pytest.mark.parametrize("type", ["f32", "f16", "bf16", "int8", "int4"])
def test_random_models_run_and_repeat(type: str) -> None:
    config = CASES["qwen2-tied"]
    answers = []
    for seed in (0, 0, 1):
        bundle = random_bundle(config, type, seed)
        assert {info.type for info in bundle.tensors.infos.values()} == {"F32", type.upper()}
        answers.append(Session(load_model(bundle, ReferenceBackend())).feed([1, 2, 3, 4]))
    np.testing.assert_array_equal(answers[0], answers[1])
    assert np.isfinite(answers[0]).all()
    assert np.ptp(answers[0], axis=1).min() > 0.1
    assert np.abs(answers[0] - answers[2]).max() > 0.1


@pytest.mark.parametrize("name", CASES)
def test_every_case_has_a_random_model(name: str) -> None:
    bundle = random_bundle(CASES[name], "bf16")
    logits = Session(load_model(bundle, ReferenceBackend(), weight_type="int8")).feed([5, 6])
    assert np.isfinite(logits).all()


def test_random_models_hold_only_their_own_tensors() -> None:
    bundle = random_bundle(CASES["gpt2-tied"], "f32")
    config = read_config(CASES["gpt2-tied"])
    assert bundle.tensors.infos.keys() == expected_tensors(config).keys()
    with pytest.raises(FormatError, match="no tensor lm_head"):
        bundle.tensors.read("lm_head.weight")
