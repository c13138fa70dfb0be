"""Checkpoints: one safetensors file each, whole or not there at all, the last two kept.

A file holds the trained tensors, the optimizer's moments and how far training was; everything random is a
function of seed and step. The rule: a new one is on disk under its name before an old one goes.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from fairway.errors import DoesNotFit, FormatError
from fairway.formats.json_text import parse_object
from fairway.formats.safetensors import open_safetensors
from fairway.formats.safetensors_writer import tensor_data, write_safetensors
from fairway.tensors import F32

FOLDER = "checkpoints"
KEPT = 2
KEY = "fairway.training"
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass
class Progressed:
    """How far a run is."""

    step: int = 0
    """Updates done."""
    seconds: float = 0.0
    num_tokens: int = 0
    best_loss: float | None = None
    best_step: int = 0
    num_worse: int = 0
    """Measurements since the best one."""
    held_out: list[tuple[int, float]] = field(default_factory=list)
    """(updates done, loss)"""
    is_over: bool = False
    """Stopped early."""


@dataclass(frozen=True)
class Checkpoint:
    """`tensors`: "trained/NAME", "best/NAME", and the optimizer's, such as "exp_avg/NAME"."""

    progress: Progressed
    tensors: Mapping[str, F32]


class Checkpoints:
    """Those of one run folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / FOLDER

    def save(self, checkpoint: Checkpoint) -> Path:
        """Raises `DoesNotFit` for a full disk, which leaves the earlier ones as they were."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"step-{checkpoint.progress.step:08d}.safetensors"
        tensors = {name: tensor_data(values) for name, values in checkpoint.tensors.items()}
        try:
            write_safetensors(path, tensors, {KEY: json.dumps(asdict(checkpoint.progress))})
            _make_durable(self.folder)
        except OSError as error:
            if error.errno not in FULL_DISK:
                raise
            raise self._full(checkpoint.progress.step) from error
        for old in self._paths()[:-KEPT]:
            old.unlink()
        return path

    def last(self) -> Checkpoint | None:
        """The newest; None where there is none."""
        paths = self._paths()
        return None if not paths else read_checkpoint(paths[-1])

    @property
    def last_step(self) -> int | None:
        """The updates of the newest, which is not read for that."""
        paths = self._paths()
        return int(paths[-1].stem.removeprefix("step-")) if paths else None

    def clear(self) -> None:
        """Removes all of them: the run is finished. Half-written files of a killed run go too."""
        for path in self.folder.glob("*") if self.folder.is_dir() else ():
            path.unlink()
        if self.folder.is_dir():
            self.folder.rmdir()

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.safetensors"))

    def _full(self, step: int) -> DoesNotFit:
        last = self.last_step
        kept = f"the one of step {last} is intact" if last is not None else "there is none before it"
        return DoesNotFit(
            f"The disk of {self.folder} is full: the checkpoint of step {step} was not written, {kept}.",
            hint="Free some space and run the same command with --resume.",
        )


def read_checkpoint(path: Path) -> Checkpoint:
    file = open_safetensors(path)
    values = parse_object(file.metadata.get(KEY, "").encode("utf-8"), f"{KEY} of {path}")
    try:
        progress = Progressed(**values)
    except TypeError:
        raise FormatError(f"{path} is no checkpoint of this version.", hint="Remove it.") from None
    progress.held_out = [(int(step), float(loss)) for step, loss in progress.held_out]
    tensors = {
        name: np.frombuffer(file.stored(name), np.float32).reshape(info.shape)
        for name, info in file.infos.items()
    }
    return Checkpoint(progress, tensors)


def _make_durable(folder: Path) -> None:
    """A rename is on disk when its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
