"""A run that is killed and started again ends with the same bits as one that was not."""

import itertools
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from builtin_fixtures import tiny_recipe  # noqa: E402
from recipes.builtin_model.checkpoint import JsonLog, load_checkpoint, save_checkpoint  # noqa: E402
from recipes.builtin_model.team import Team  # noqa: E402
from recipes.builtin_model.train import Trainer, run  # noqa: E402

TOKENS = np.random.default_rng(0).integers(0, 320, 500).astype(np.uint16)


class Killed(Exception):
    pass


def seconds(kill_at=None):
    """A clock on which each step takes one second; raises at the `kill_at`-th reading."""
    ticks = itertools.count()

    def read():
        now = next(ticks)
        if now == kill_at:
            raise Killed
        return float(now)

    return read


def trained(work, timer):
    work.mkdir(exist_ok=True)
    trainer = Trainer(tiny_recipe(), TOKENS, timer, Team())
    run(trainer, work)
    return trainer


def flat(state):
    return torch.cat([value.flatten() for value in state["model"].values()])


@pytest.mark.parametrize("kill_at", [1, 9, 16, 21])
def test_killed_run_ends_with_the_same_weights(tmp_path, kill_at):
    whole = trained(tmp_path / "whole", seconds())
    with pytest.raises(Killed):
        trained(tmp_path / "killed", seconds(kill_at))
    resumed = trained(tmp_path / "killed", seconds())
    assert torch.equal(flat(whole.state_dict()), flat(resumed.state_dict()))
    logs = [(tmp_path / name / "pretrain.jsonl").read_text() for name in ("whole", "killed")]
    assert logs[0] == logs[1]


def test_run_goes_through_all_lengths_and_lowers_the_rate_to_zero(tmp_path):
    trained(tmp_path / "run", seconds())
    lines = [json.loads(line) for line in (tmp_path / "run" / "pretrain.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert sorted({line["length"] for line in lines}) == [8, 16, 32]
    assert lines[-1]["lr"] < lines[-2]["lr"] < lines[-3]["lr"]


def test_finished_run_does_nothing_more(tmp_path):
    first = trained(tmp_path / "run", seconds())
    again = trained(tmp_path / "run", seconds())
    assert again.step_number == first.step_number == 12


def test_half_written_checkpoint_does_not_replace_the_whole_one(tmp_path):
    path = tmp_path / "state.pt"
    save_checkpoint(path, {"step_number": 1})
    path.with_suffix(".writing").write_bytes(b"half of the next")
    assert load_checkpoint(path) == {"step_number": 1}
    save_checkpoint(path, {"step_number": 2})
    assert load_checkpoint(path) == {"step_number": 2}
    assert [file.name for file in tmp_path.iterdir()] == ["state.pt"]


def test_log_drops_what_came_after_the_checkpoint_and_half_a_line(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"st')
    JsonLog(path, last_step=1).write({"step": 2, "loss": 0.5})
    assert path.read_text() == '{"step": 1}\n{"step": 2, "loss": 0.5}\n'
