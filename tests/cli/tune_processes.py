"""What tests of `fairway tune` share: on one thread, and as a process of its own, to be stopped or killed."""

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

has_torch = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.skipif(not has_torch, reason="needs torch")


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Small steps on a shared machine: threads would wait for each other most of the time."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    if has_torch:
        import torch

        torch.set_num_threads(1)


def process(data: Path, out: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "fairway", "tune", "builtin", str(data), "--out", str(out), *more]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def steps_done(out: Path) -> int:
    path = out / "metrics.jsonl"
    return len(path.read_text("utf-8").splitlines()) if path.is_file() else 0


def wait_for(child: subprocess.Popen, out: Path, steps: int) -> None:
    while child.poll() is None and steps_done(out) < steps:
        time.sleep(0.01)
