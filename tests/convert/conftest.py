"""Small complete models on disk, and the tiny configs and vocabularies of the other folders' tests."""

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[1] / name) for name in ("models", "text", "runtimes")]

from model_folders import make_folder  # noqa: E402  (needs the path above)

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the real models lie beside the project, not in it")
    return SHARED


@pytest.fixture
def model(tmp_path) -> Path:
    """A complete llama with random weights."""
    return make_folder(tmp_path / "model")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """What is written without --out lands in the test's own folder."""
    monkeypatch.chdir(tmp_path)
