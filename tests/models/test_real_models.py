"""Real checkpoints answer as transformers does, from the Hugging Face folder and from GGUF.

Needs the models beside the repository and is skipped where they are absent.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_models import Session

from fairway.formats.open import open_bundle
from fairway.kernels.select import select_backend
from fairway.models.loader import Model, load_model

MODELS = Path(__file__).parents[3] / "shared" / "data" / "models"
NAMES = ("stories260k", "babyllama")
pytestmark = pytest.mark.skipif(not MODELS.is_dir(), reason="../shared/data is absent")


def answer(name: str) -> dict:
    return json.loads((MODELS / name / "golden.json").read_text("utf-8"))


def load(name: str, container: str, weight_type: str = "stored", backend: str = "auto") -> Model:
    path = MODELS / name / f"{name}-f32.gguf" if container == "gguf" else MODELS / name
    return load_model(open_bundle(path), select_backend(backend), weight_type=weight_type)


@pytest.mark.parametrize("backend", ["reference", "auto"])
@pytest.mark.parametrize("container", ["folder", "gguf"])
@pytest.mark.parametrize("name", NAMES)
def test_greedy_text_to_the_last_id(name: str, container: str, backend: str) -> None:
    expected = answer(name)
    session = Session(load(name, container, backend=backend))
    assert session.greedy(expected["prompt_ids"], len(expected["greedy_ids"])) == expected["greedy_ids"]


@pytest.mark.parametrize("backend", ["reference", "auto"])
@pytest.mark.parametrize("container", ["folder", "gguf"])
@pytest.mark.parametrize("name", NAMES)
def test_logit_figures(name: str, container: str, backend: str) -> None:
    expected = answer(name)["logits_first_64_positions"]
    logits = Session(load(name, container, backend=backend)).feed(answer(name)["greedy_ids"][:64])
    assert logits.argmax(axis=1).tolist() == expected["argmax"]
    np.testing.assert_allclose(logits.max(axis=1), expected["max"], rtol=2e-5)
    top = logits.max(axis=1, keepdims=True)
    logsumexp = np.log(np.exp(logits - top).sum(axis=1)) + top[:, 0]
    np.testing.assert_allclose(logsumexp, expected["logsumexp"], rtol=2e-5)


@pytest.mark.parametrize(
    ("weight_type", "agreement", "error"), [("bf16", 0.98, 0.05), ("int8", 0.97, 0.05), ("int4", 0.8, 0.4)]
)
@pytest.mark.parametrize("name", NAMES)
def test_rounded_weights_mostly_choose_the_same_token(
    name: str, weight_type: str, agreement: float, error: float
) -> None:
    """After the true text, so that one different choice does not decide all later ones."""
    tokens = answer(name)["greedy_ids"]
    exact = Session(load(name, "folder")).feed(tokens)
    rounded = Session(load(name, "folder", weight_type)).feed(tokens)
    assert (exact.argmax(axis=1) == rounded.argmax(axis=1)).mean() >= agreement
    assert np.sqrt(np.mean((rounded - exact) ** 2)) / exact.std() < error


def test_parameters_as_published() -> None:
    assert load("stories260k", "folder").num_parameters == 260_032
    assert load("babyllama", "folder").num_parameters == 936_448
