"""What a run is made from must be the same when it goes on."""

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from fairway.errors import DoesNotFit, UsageError
from fairway.tune.checkpoints import Checkpoint, Progressed
from fairway.tune.out_of_disk import disk_told
from fairway.tune.recipe import Recipe
from fairway.tune.run_folder import SAMPLES, Facts, RunFolder

FACTS = Facts("m", "sha256:1", "d", "sha256:2", None, None, 3, 3, 30, {"mine.py": "sha256:3"})


def test_another_reward_or_teacher_is_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.begin(Recipe(), FACTS)
    folder.check(FACTS)
    with pytest.raises(UsageError, match=r"mine\.py has changed since"):
        folder.check(replace(FACTS, also={"mine.py": "sha256:4"}))
    with pytest.raises(UsageError, match="begun with another data"):
        folder.check(replace(FACTS, data_digest="sha256:5"))


def test_lines_after_the_checkpoint_go(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.begin(Recipe(), FACTS)
    for step in (1, 2, 3):
        folder.add({"step": step, "loss": 1.0})
        folder.add({"step": step, "completion": "a\nb"}, SAMPLES)
    assert [line["step"] for line in folder.keep_until(2)] == [1, 2]
    assert len((folder.path / SAMPLES).read_text("utf-8").splitlines()) == 2


@pytest.mark.parametrize(("saved", "said"), [(None, "nothing is saved yet"), (7, "update 7 is intact")])
def test_a_disk_that_is_full_anywhere_is_a_sentence(tmp_path, saved, said):
    folder = RunFolder(tmp_path / "run")
    if saved is not None:
        folder.checkpoints.save(Checkpoint(Progressed(step=saved), {}))
    with pytest.raises(DoesNotFit, match=f"The disk of .*run is full; .*{said}"), disk_told(folder):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(PermissionError), disk_told(folder):
        raise PermissionError(errno.EACCES, "no")
