"""Every family gives the logits and the greedy tokens that transformers gave, recorded in goldens/."""

import dataclasses

import numpy as np
import pytest
from model_cases import CASES, WITHOUT_GREEDY
from tiny_models import Golden, Session, golden, memory_bundle

from fairway.kernels.program import Backend
from fairway.kernels.reference import ReferenceBackend
from fairway.kernels.select import select_backend
from fairway.models.families import read_config
from fairway.models.loader import Model, load_model
from fairway.models.sizes import expected_tensors, num_parameters

TOLERANCE = 1e-5


def load(answer: Golden, backend: Backend) -> Model:
    return load_model(answer.bundle, backend, context=answer.context)


def relative_error(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


@pytest.fixture(params=CASES)
def answer(request: pytest.FixtureRequest) -> Golden:
    return golden(request.param)


def test_goldens_are_of_the_cases(answer: Golden) -> None:
    assert answer.config == CASES[answer.name]


def test_logits_in_one_step(answer: Golden) -> None:
    logits = Session(load(answer, ReferenceBackend())).feed(answer.tokens)
    assert relative_error(logits, answer.logits) < TOLERANCE


def test_logits_in_chunks_over_small_blocks(answer: Golden) -> None:
    session = Session(load(answer, ReferenceBackend()), block_size=4)
    logits = np.concatenate([session.feed(answer.tokens[start : start + 5]) for start in range(0, 48, 5)])
    assert relative_error(logits, answer.logits) < TOLERANCE


@pytest.mark.parametrize("name", [name for name in CASES if name not in WITHOUT_GREEDY])
def test_greedy_tokens(name: str) -> None:
    answer = golden(name)
    session = Session(load(answer, ReferenceBackend()))
    assert session.greedy(answer.tokens[: answer.num_prompt], len(answer.tokens)) == answer.tokens


def test_the_backend_of_this_machine(answer: Golden) -> None:
    model = load(answer, select_backend())
    assert relative_error(Session(model).feed(answer.tokens), answer.logits) < TOLERANCE
    if answer.greedy:
        greedy = Session(model).greedy(answer.tokens[: answer.num_prompt], len(answer.tokens))
        assert greedy == answer.tokens


def test_config_reads_the_same_as_transformers_saves_it(answer: Golden) -> None:
    """config.json as published and as transformers 5 writes it back mean the same model."""
    published, saved = read_config(answer.config), read_config(answer.saved_config)
    assert dataclasses.replace(saved, model_type=published.model_type) == published


@pytest.mark.parametrize("name", [name for name in CASES if name != "gemma3-multimodal"])
def test_shapes_and_parameter_count_without_weights(name: str) -> None:
    answer = golden(name)
    config = read_config(answer.config)
    shapes = {name: tensor.shape for name, tensor in expected_tensors(config).items()}
    assert shapes == answer.shapes
    assert num_parameters(config) == answer.num_parameters


def test_goldens_stay_small() -> None:
    from tiny_models import GOLDENS

    assert sum(path.stat().st_size for path in GOLDENS.iterdir()) < 2_000_000


def test_bare_checkpoints_load_too() -> None:
    """Base models are saved without the prefix of the causal model around them."""
    answer = golden("llama-tied-biases")
    bare = {name.removeprefix("model."): values for name, values in answer.weights.items()}
    model = load_model(memory_bundle(answer.config, bare), ReferenceBackend())
    assert relative_error(Session(model).feed(answer.tokens), answer.logits) < TOLERANCE
