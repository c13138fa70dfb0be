"""`fairway tune --require`: what is below the bar is not published; what is above carries its figures."""

import json

import pytest

pytest.importorskip("torch")

from tune_processes import one_thread  # noqa: F401  a fixture

from fairway.cli.main import run
from fairway.formats.lineage import read_lineage

ROWS = [("Who keeps the lighthouse?", "Old Marta keeps it."), ("What colour is the ferry?", "It is green.")]


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "facts.jsonl"
    rows = [{"prompt": prompt, "completion": completion} for prompt, completion in ROWS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def tune(data, out, *more: str) -> int:
    return run(["tune", "builtin", str(data), "--validation", str(data), "--out", str(out), *more])


def test_what_is_learned_is_measured_through_the_engine(data, tmp_path, capsys):
    """The engine's loss is the trainer's: what is served is what was trained."""
    out = tmp_path / "run"
    flags = ("--num-train-epochs", "25", "--learning-rate", "5e-3", "--require", "exact_match>=1,stops>=1")
    assert tune(data, out, *flags) == 0
    assert "exact_match" in capsys.readouterr().out
    found = json.loads((out / "gate.json").read_text("utf-8"))
    base, adapter = found["stages"]
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert adapter["loss"] == pytest.approx(lines[-1]["held_out_loss"], rel=1e-2, abs=1e-3)
    assert (base["metrics"]["exact_match"], adapter["metrics"]["exact_match"]) == (0, 1)
    lineage = read_lineage(out / "adapter")
    assert lineage is not None
    assert lineage.steps[-1].proof["gate"]["adapter"]["stops"] == 1
    assert lineage.steps[-1].accepted_by is None


def test_below_the_bar_nothing_is_published_until_it_is_accepted(data, tmp_path, capsys):
    out = tmp_path / "run"
    assert tune(data, out, "--max-steps", "2", "--require", "exact_match>=1", "--gate-max-tokens", "16") == 9
    assert "exact_match is 0, not exact_match>=1. Nothing was published" in capsys.readouterr().err
    assert not (out / "adapter").exists()
    assert not (out / ".candidate").exists()
    assert json.loads((out / "gate.json").read_text("utf-8"))["passed"] is False
    assert tune(data, out, "--resume") == 9
    assert tune(data, out, "--resume", "--accept", "only a test") == 0
    lineage = read_lineage(out / "adapter")
    assert lineage is not None
    assert str(lineage.steps[-1].accepted_by).endswith(": only a test")


def test_a_gate_needs_held_out_data_and_metrics_that_are_there(data, tmp_path, capsys):
    command = ["tune", "builtin", str(data), "--out", str(tmp_path / "run")]
    assert run([*command, "--require", "loss<=1"]) == 2
    assert "--require needs held-out data" in capsys.readouterr().err
    assert tune(data, tmp_path / "run", "--require", "bleu>=1") == 2
    assert "asks for 'bleu'" in capsys.readouterr().err
