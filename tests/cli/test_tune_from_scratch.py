"""`fairway tune` from scratch, as the built-in model is made: Muon, windows that grow, a plateau."""

import json
import random
import signal
import time
from pathlib import Path

import pytest
from tune_processes import needs_torch, one_thread, process, wait_for  # noqa: F401  a fixture

from fairway.cli.main import run

TEXT = "The tide turns twice a day, and the gulls follow the ferry to the pier. "
RECIPE = """
method = "full"
init = "random_fan_in"
optim = "muon"
learning_rate = 0.004
weight_decay = 0.05
adam_beta2 = 0.95
packing = true
packing_strategy = "wrapped"
max_length = 64
length_stages = ["16:0.5", "32:0.25"]
per_device_train_batch_size = 1
gradient_accumulation_steps = 2
max_steps = 8
save_steps = 2
lr_scheduler_type = "warmup_stable_decay"
lr_scheduler_kwargs = { num_decay_steps = 4, decay_type = "linear" }
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two texts, each much longer than a window."""
    path = tmp_path / "text.jsonl"
    path.write_text("".join(json.dumps({"text": TEXT * times}) + "\n" for times in (9, 20)), "utf-8")
    return path


@pytest.fixture
def recipe(tmp_path: Path) -> tuple[str, str]:
    path = tmp_path / "scratch.toml"
    path.write_text(RECIPE, "utf-8")
    return "--recipe", str(path)


def tune(data: Path, out: Path, *more: str) -> int:
    return run(["tune", "builtin", str(data), "--out", str(out), *more])


@needs_torch
@pytest.mark.timeout(300)
def test_killed_in_every_stage_it_ends_in_the_same_bits(data, recipe, tmp_path):
    assert tune(data, tmp_path / "whole", *recipe) == 0
    out, chance = tmp_path / "killed", random.Random(5)
    more: tuple[str, ...] = recipe
    for steps in (1, 5, 7):
        child = process(data, out, *more)
        wait_for(child, out, steps)
        time.sleep(chance.random() * 0.05)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        more = ("--resume",)
    assert tune(data, out, "--resume") == 0
    name = "model/model.safetensors"
    assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    losses = [[json.loads(line)["loss"] for line in (each / "metrics.jsonl").read_text("utf-8").splitlines()]
              for each in (out, tmp_path / "whole")]  # fmt: skip
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0] - 1


@needs_torch
def test_held_out_text_may_be_longer_than_the_context(data, recipe, tmp_path, capsys):
    held_out = tmp_path / "held.jsonl"
    held_out.write_text(json.dumps({"text": "The pier is closed. " * 500}) + "\n", "utf-8")
    assert tune(data, tmp_path / "run", *recipe, "--validation", str(held_out), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["num_tokens"] == 8 * 2 * 64
    assert 8.1 < told["held_out"][0][1] < 8.6  # ln 4096 is 8.32


@needs_torch
def test_a_quote_says_how_many_tokens_the_updates_see(data, recipe, tmp_path, capsys):
    assert tune(data, tmp_path / "run", *recipe, "--dry-run", "--json") == 0
    quote = json.loads(capsys.readouterr().out)
    assert quote["num_updates"] == 8
    assert quote["num_tokens"] == pytest.approx(8 * 2 * 64, rel=0.1)
    assert tune(data, tmp_path / "run", *recipe, "--dry-run", "--max-steps", "3") != 0
    assert "Set num_decay_steps to 3 at most" in capsys.readouterr().err


@pytest.mark.parametrize("first", [0, 1])
def test_texts_and_conversations_may_be_in_one_file(first, tmp_path, capsys):
    rows = [
        {"prompt": "Who?", "completion": "Marta."},
        {"text": TEXT},
        {"prompt": "When?", "completion": "At six."},
    ]
    path = tmp_path / "mixed.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows[first:]), "utf-8")
    assert run(["tune", "builtin", "--check", str(path), "--json"]) == 0
    [file] = json.loads(capsys.readouterr().out)["files"]
    assert file["num_examples"] == len(rows[first:])
    assert file["num_learned"] > 15


def test_conversations_of_two_shapes_may_not(tmp_path):
    path = tmp_path / "mixed.jsonl"
    path.write_text('{"prompt": "Who?", "completion": "Marta."}\n{"instruction": "Go.", "output": "Gone."}\n')
    assert run(["tune", "builtin", "--check", str(path)]) == 1
