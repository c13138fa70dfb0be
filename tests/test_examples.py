"""Every example runs against a real server with the built-in model and ends without an error."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BUILTIN = ROOT / "src" / "fairway" / "builtin" / "model.safetensors"
EXAMPLES = sorted((ROOT / "examples").glob("*.*"))
pytestmark = pytest.mark.skipif(not BUILTIN.exists(), reason="the built-in model is not here")


@pytest.fixture(scope="module")
def server_url(tmp_path_factory):
    """A server in a process of its own, on a port of its own choosing."""
    command = [sys.executable, "-m", "fairway.cli.main", "up", "--json"]
    home = tmp_path_factory.mktemp("home")
    environment = {**os.environ, "HOME": str(home), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    try:
        yield _address(process)
    finally:
        process.terminate()
        process.communicate(timeout=30)


def _address(process: subprocess.Popen[str]) -> str:
    seen = []
    for line in process.stdout:
        seen.append(line)
        if match := re.search(r"http://127\.0\.0\.1:\d+", line):
            return match[0]
    pytest.fail(f"the server ended without an address: {''.join(seen)}")


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("path", [p for p in EXAMPLES if p.suffix == ".py"], ids=lambda p: p.name)
def test_python_example(path, server_url):
    output = _run([sys.executable, "-W", "ignore", str(path), f"{server_url}/v1"])
    assert len(output.splitlines()) >= 3


def test_curl_example(server_url):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    output = _run(["sh", str(ROOT / "examples" / "curl.sh"), server_url])
    assert '"object":"list"' in output.replace(" ", "")
    assert "data: [DONE]" in output


def test_every_example_is_listed():
    page = (ROOT / "examples" / "README.md").read_text("utf-8")
    for path in EXAMPLES:
        assert path.name == "README.md" or f"`{path.name}`" in page
