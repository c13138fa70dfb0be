"""Checkpoints are whole or not there, and the last two stay."""

import errno
from pathlib import Path

import numpy as np
import pytest

from fairway.errors import DoesNotFit, FormatError
from fairway.tune import checkpoints
from fairway.tune.checkpoints import Checkpoint, Checkpoints, Progressed, read_checkpoint


def made(step: int) -> Checkpoint:
    progress = Progressed(step=step, seconds=1.5, best_loss=0.25, held_out=[(0, 2.0), (step, 1.0)])
    return Checkpoint(progress, {"trained/a": np.full((2, 3), step, np.float32)})


def test_the_last_two_stay_and_read_as_they_were_written(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    assert kept.last() is None
    for step in (1, 2, 12):
        kept.save(made(step))
    assert [path.name for path in sorted(kept.folder.iterdir())] == [
        "step-00000002.safetensors",
        "step-00000012.safetensors",
    ]
    last = kept.last()
    assert last is not None
    assert last.progress == made(12).progress
    assert (last.tensors["trained/a"] == 12).all()
    kept.clear()
    assert not kept.folder.exists()


def test_a_full_disk_is_a_sentence_and_the_last_checkpoint_is_intact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Checkpoints(tmp_path)
    kept.save(made(7))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints, "write_safetensors", full)
    with pytest.raises(DoesNotFit, match="checkpoint of step 8 was not written, the one of step 7 is intact"):
        kept.save(made(8))
    last = kept.last()
    assert last is not None
    assert last.progress.step == 7


def test_another_file_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "step-00000001.safetensors"
    checkpoints.write_safetensors(path, {}, {checkpoints.KEY: '{"steps": 1}'})
    with pytest.raises(FormatError, match="no checkpoint of this version"):
        read_checkpoint(path)
