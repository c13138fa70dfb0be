"""`fairway tune --objective grpo`: the model answers through the engine that serves it, and is rewarded."""

import json
import signal
from pathlib import Path

import pytest
from tune_processes import needs_torch, one_thread, process, wait_for  # noqa: F401  a fixture

from fairway.cli.main import run

QUESTIONS = [("Who keeps the lighthouse?", "Old Marta."), ("What colour is the ferry?", "Green.")]
SMALL = ("--objective", "grpo", "--r", "4", "--max-completion-length", "12", "--num-generations", "4",
         "--per-device-train-batch-size", "4", "--gradient-accumulation-steps", "2")  # fmt: skip
REWARD = """
def exclaims(completions, **_):
    return [float("!" in each) for each in completions]


def asks_back(completions, references, **_):
    assert references == references[:1] * 4 + references[-1:] * 4
    return [0.0 for each in completions]
"""


@pytest.fixture
def reward(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(REWARD)
    return path


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in QUESTIONS))
    return path


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": q}) + "\n" for q, _ in QUESTIONS))
    return path


def tune(data: Path, out: Path, *more: str) -> int:
    return run(["tune", "builtin", str(data), "--out", str(out), *SMALL, *more])


def lines(out: Path, name: str = "metrics.jsonl") -> list[dict]:
    return [json.loads(line) for line in (out / name).read_text("utf-8").splitlines()]


@needs_torch
def test_the_reward_rises(prompts, reward, tmp_path, capsys):
    out = tmp_path / "run"
    flags = ("--max-steps", "25", "--learning-rate", "1e-2", "--validation", str(prompts))
    assert tune(prompts, out, "--reward", f"{reward}:exclaims", *flags) == 0
    told = lines(out)
    assert sum(line["reward"] for line in told[-5:]) / 5 > sum(line["reward"] for line in told[:5]) / 5 + 0.3
    assert told[-1]["held_out_loss"] == -told[-1]["held_out_reward"]
    wrote = lines(out, "completions.jsonl")
    assert len(wrote) == 25 * 8
    assert wrote[0]["prompt"][0]["role"] == "user"
    assert all(bool(each["reward"]) == ("!" in each["completion"]) for each in wrote)
    assert "held-out loss (minus the reward)" in capsys.readouterr().out
    facts = json.loads((out / "run.json").read_text("utf-8"))
    assert list(facts["also"]) == [str(reward)]


METHODS = {
    "full": ("--method", "full", "--learning-rate", "1e-3"),
    "dora": ("--use-dora", "--r", "4", "--learning-rate", "1e-2"),
    "qlora": ("--method", "qlora", "--r", "4", "--learning-rate", "1e-2"),
    "prefix": ("--method", "prefix", "--num-virtual-tokens", "8", "--learning-rate", "5e-2"),
}
SHORT = [each for at, each in enumerate(SMALL) if "--r" not in SMALL[max(0, at - 1) : at + 1]]


@needs_torch
@pytest.mark.timeout(300)
@pytest.mark.parametrize("method", METHODS)
def test_the_reward_rises_with_every_method(method, prompts, reward, tmp_path):
    flags = (
        *SHORT,
        *METHODS[method],
        "--reward",
        f"{reward}:exclaims",
        "--max-steps",
        "20",
        "--beta",
        "0.01",
    )
    assert run(["tune", "builtin", str(prompts), "--out", str(tmp_path / "run"), *flags]) == 0
    told = [line["reward"] for line in lines(tmp_path / "run")]
    assert sum(told[-5:]) / 5 > sum(told[:5]) / 5 + 0.2, told
    assert all(line["kl"] > -1e-6 for line in lines(tmp_path / "run"))


@needs_torch
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("method", "made"),
    [("lora", "adapter/adapter_model.safetensors"), ("full", "model/model.safetensors")],
)
def test_kill_anywhere_and_resume_gives_the_same_bits(method, made, questions, reward, tmp_path):
    """Two updates of each group of answers, so that a kill falls between them."""
    flags = ("--reward", f"{reward}:exclaims", "--reward", f"{reward}:asks_back", "--reward", "length:6",
             "--max-steps", "6", "--save-steps", "1", "--num-iterations", "2", "--beta", "0.1",
             "--learning-rate", "5e-3", "--temperature", "0.9", "--method", method)  # fmt: skip
    command = ["tune", "builtin", str(questions)]
    assert run([*command, "--out", str(tmp_path / "whole"), *SHORT, *flags]) == 0
    out = tmp_path / "killed"
    child = process(questions, out, *SHORT, *flags)
    wait_for(child, out, 3)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert run([*command, "--out", str(out), "--resume"]) == 0
    assert (out / made).read_bytes() == (tmp_path / "whole" / made).read_bytes()
    assert lines(out, "completions.jsonl") == lines(tmp_path / "whole", "completions.jsonl")
    told = [[(line["reward"], line["loss"], line["kl"]) for line in lines(each)]
            for each in (out, tmp_path / "whole")]  # fmt: skip
    assert told[0] == told[1]
    assert len(lines(out, "completions.jsonl")) == 3 * 8


@needs_torch
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "no reward to learn from"),
        (
            ["--reward", "exact_match", "--method", "full", "--init", "random"],
            "from scratch it can say nothing",
        ),
        (["--reward", "exact_match", "--num-generations", "3"], "groups of 3 do not fill"),
        (["--reward", "exact_match", "--loss-type", "ipo"], "loss_type ipo is not of grpo"),
        (["--reward", "exact_match", "--packing"], "--packing has no meaning with --objective grpo"),
        (["--reward", "mine.py:f"], "There is no file mine.py"),
    ],
)
def test_what_does_not_go_together(questions, flags, said, tmp_path, capsys):
    flags = [*SMALL, *flags] if "--method" not in flags else ["--objective", "grpo", *flags]
    assert run(["tune", "builtin", str(questions), "--out", str(tmp_path / "run"), *flags]) != 0
    assert said in capsys.readouterr().err


@needs_torch
def test_prompts_alone_need_a_reward(prompts, tmp_path, capsys):
    assert run(["tune", "builtin", str(prompts), "--out", str(tmp_path / "run")]) == 4
    assert "It can be learned with --objective grpo" in capsys.readouterr().err
