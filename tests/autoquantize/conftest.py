"""Small models of other folders' tests, and the built-in one as a task."""

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[1] / name) for name in ("convert", "models", "text")]

from model_folders import make_folder  # noqa: E402  (needs the path above)

from fairway.convert.hops import prepare  # noqa: E402
from fairway.convert.settings import ChosenTypes, ConvertSettings  # noqa: E402
from fairway.formats.open import open_bundle  # noqa: E402
from fairway.registry.resolve import BUILTIN_FOLDER  # noqa: E402


@pytest.fixture
def model(tmp_path) -> Path:
    """A complete llama with random weights in float32, whose rows are no blocks of 256."""
    return make_folder(tmp_path / "model")


@pytest.fixture
def conversion_of(tmp_path):
    """A folder or file on its way to GGUF, with or without types of its own."""

    def made(path=BUILTIN_FOLDER, mix="Q8_0", types=None):
        chosen = None if types is None else ChosenTypes(types, {"why": "a test"})
        settings = ConvertSettings(to="gguf", type=mix, out=tmp_path / f"{mix}.gguf", chosen=chosen)
        return prepare(open_bundle(path), settings)

    return made
