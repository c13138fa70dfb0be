"""Small complete models on disk, and the tiny configs and vocabularies of the other folders' tests."""

import importlib.util
import sys
from pathlib import Path

import pytest

from fairway.convert.graph_runtimes import run_onnx, run_openvino

sys.path[:0] = [str(Path(__file__).parents[1] / name) for name in ("models", "text", "runtimes")]

from model_folders import make_folder  # noqa: E402  (needs the path above)

RUNTIMES = {"onnxruntime": run_onnx, "openvino": run_openvino}
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


@pytest.fixture(params=RUNTIMES)
def runtime(request):
    """Runs any graph: the path of a file -> inputs by name -> outputs by name."""
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return RUNTIMES[request.param]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """What is written without --out lands in the test's own folder."""
    monkeypatch.chdir(tmp_path)
