"""Training runs that are killed while they load, update, write and end, in real processes: a short round."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kill_training.py"


@pytest.mark.timeout(600)
def test_a_dozen_kills_cost_no_bit(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(SCRIPT), "--work", str(tmp_path / "work"), "--kills", "10"]
    done = subprocess.run(
        [*command, "--results", str(tmp_path)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "the final weights of every run are" in done.stdout
    (result,) = tmp_path.glob("*-kill-training.json")
    kills = [each["killed"] for each in json.loads(result.read_text("utf-8"))["runs"]]
    assert sum(sum(each.values()) for each in kills) >= 10
