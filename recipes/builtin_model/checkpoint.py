"""Checkpoints that are either the old one or the new one, never half of each, and their log."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import torch


def save_checkpoint(path: Path, state: dict[str, object]) -> None:
    """Write beside `path`, force it to disk, then rename over it."""
    temporary = path.with_suffix(".writing")
    with temporary.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load_checkpoint(path: Path) -> dict[str, object] | None:
    """The saved state, or None where there is none yet."""
    if not path.exists():
        return None
    return torch.load(path, map_location="cpu", weights_only=True)


class JsonLog:
    """One JSON object per line; lines after the checkpoint's step are dropped on opening."""

    def __init__(self, path: Path, last_step: int) -> None:
        self.path = path
        with contextlib.suppress(FileNotFoundError):
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [x for x in lines if x.endswith("\n") and json.loads(x)["step"] <= last_step]
            path.write_text("".join(kept), encoding="utf-8")

    def write(self, line: dict[str, float]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
