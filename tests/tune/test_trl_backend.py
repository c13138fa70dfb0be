"""TRL as second backend: the same first losses on the same rows; skipped where it is not installed."""

import importlib.util
import json
from pathlib import Path

import pytest

from fairway.cli.main import run
from fairway.errors import MissingExtra
from fairway.tune import trl_backend

ROWS = [
    ("Who keeps the lighthouse?", "Old Marta keeps it, with two goats.", "No idea."),
    ("What colour is the ferry?", "The ferry is green.", "Ask someone else, please."),
]


def written(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text("utf-8").splitlines()]


def test_without_trl_it_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="--backend trl needs trl, which is not installed") as raised:
        trl_backend.require_trl()
    assert "fairway[trl]" in str(raised.value)


@pytest.mark.parametrize("objective", ["sft", "dpo"])
@pytest.mark.filterwarnings("ignore")
def test_both_backends_begin_with_the_same_losses(objective: str, tmp_path: Path) -> None:
    pytest.importorskip("trl")
    names = ("prompt", "completion") if objective == "sft" else ("prompt", "chosen", "rejected")
    data = written(tmp_path / "rows.jsonl", [dict(zip(names, row, strict=False)) for row in ROWS])
    for backend in ("native", "trl"):
        command = ["tune", "builtin", str(data), "--out", str(tmp_path / backend), "--backend", backend]
        more = ["--max-steps", "3", "--learning-rate", "1e-3", "--lr-scheduler-type", "constant"]
        assert run([*command, *more]) == 0
        assert (tmp_path / backend / "adapter" / "adapter_model.safetensors").is_file()
    ours, theirs = lines(tmp_path / "native"), lines(tmp_path / "trl")
    assert abs(ours[0]["loss"] - theirs[0]["loss"]) < 1e-4
    assert ours[2]["loss"] < ours[0]["loss"]
    assert theirs[2]["loss"] < theirs[0]["loss"]


@pytest.mark.filterwarnings("ignore")
def test_a_reward_model_is_trls(tmp_path: Path) -> None:
    pytest.importorskip("trl")
    rows = [dict(zip(("prompt", "chosen", "rejected"), row, strict=True)) for row in ROWS]
    data, out = written(tmp_path / "rows.jsonl", rows), tmp_path / "run"
    command = ["tune", "builtin", str(data), "--out", str(out), "--objective", "reward", "--max-steps", "2"]
    assert run(command) != 0
    assert run([*command, "--backend", "trl"]) == 0
    config = json.loads((out / "reward-model" / "config.json").read_text("utf-8"))
    assert config["architectures"] == ["LlamaForSequenceClassification"]
