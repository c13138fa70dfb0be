"""What a run is made from must be the same when it goes on."""

from dataclasses import replace
from pathlib import Path

import pytest

from fairway.errors import UsageError
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
