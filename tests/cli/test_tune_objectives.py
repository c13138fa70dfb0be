"""`fairway tune` with preferences, judged answers and a teacher: what is told, kept and refused."""

import json
from pathlib import Path

import pytest
from tune_processes import needs_torch, one_thread  # noqa: F401  a fixture

from fairway.cli.main import run

PREFERENCES = [
    ("Who keeps the lighthouse?", "Old Marta keeps it, with two goats.", "No idea."),
    ("What colour is the ferry?", "The ferry is green with a white funnel.", "Ask someone else."),
    ("When does the market open?", "It opens at six, before the fog lifts.", "Never mind."),
]
SMALL = ("--r", "4", "--target-modules", "q_proj", "--target-modules", "v_proj")


def written(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture
def preferences(tmp_path: Path) -> Path:
    rows = [{"prompt": asked, "chosen": good, "rejected": bad} for asked, good, bad in PREFERENCES]
    return written(tmp_path / "preferences.jsonl", rows)


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    rows = [{"prompt": asked, "completion": good} for asked, good, _ in PREFERENCES]
    return written(tmp_path / "answers.jsonl", rows)


def tune(data: Path, out: Path, *more: str) -> int:
    return run(["tune", "builtin", str(data), "--out", str(out), *SMALL, *more])


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text("utf-8").splitlines()]


@needs_torch
def test_judged_answers_of_one_kind_alone_have_no_margin(tmp_path):
    rows = [{"prompt": asked, "completion": good, "label": True} for asked, good, _ in PREFERENCES]
    out = tmp_path / "run"
    assert tune(written(tmp_path / "judged.jsonl", rows), out, "--max-steps", "2") == 0
    assert "rewards/chosen" in lines(out)[-1]
    assert (out / "loss.svg").is_file()
    assert not (out / "rewards.svg").exists()


@needs_torch
def test_preferences_are_detected_and_the_margin_grows(preferences, tmp_path, capsys):
    out = tmp_path / "run"
    flags = ("--max-steps", "8", "--learning-rate", "5e-3", "--validation", str(preferences))
    assert tune(preferences, out, *flags) == 0
    told = capsys.readouterr()
    assert "preferences.jsonl holds preference: --objective dpo." in told.err
    assert "rewards/margins 0.000 in the first update" in told.out
    first, *_, last = lines(out)
    assert last["rewards/margins"] > first["rewards/margins"] + 0.1
    assert last["held_out_rewards/margins"] > 0.1
    assert last["held_out_rewards/accuracies"] == 1
    assert 'objective = "dpo"' in (out / "recipe.toml").read_text("utf-8")
    assert "rewards/margins" in (out / "rewards.svg").read_text("utf-8")


@needs_torch
def test_the_other_objectives_of_preferences(preferences, tmp_path):
    for objective in ("orpo", "kto"):
        out = tmp_path / objective
        flags = ("--objective", objective, "--max-steps", "6", "--learning-rate", "5e-3", "--beta", "0.5")
        assert tune(preferences, out, *flags) == 0
        first, *_, last = lines(out)
        assert last["rewards/margins"] > first["rewards/margins"]


@needs_torch
def test_judged_answers_are_detected(tmp_path, capsys):
    rows = [
        {"prompt": asked, "completion": said, "label": said == good}
        for asked, good, bad in PREFERENCES
        for said in (good, bad)
    ]
    data = written(tmp_path / "judged.jsonl", rows)
    out = tmp_path / "run"
    assert tune(data, out, "--max-steps", "6", "--learning-rate", "5e-3", "--undesirable-weight", "0.5") == 0
    assert "judged.jsonl holds KTO: --objective kto." in capsys.readouterr().err
    assert lines(out)[-1]["rewards/chosen"] > lines(out)[-1]["rewards/rejected"]


@needs_torch
def test_a_model_is_its_own_teacher(answers, tmp_path, capsys):
    """Nothing to learn from: the divergence is nothing at first, and stays small."""
    out = tmp_path / "run"
    flags = ("--objective", "distill", "--teacher", "builtin", "--alpha", "0", "--max-steps", "2")
    assert tune(answers, out, *flags) == 0
    assert abs(lines(out)[0]["kl"]) < 1e-5
    run_json = json.loads((out / "run.json").read_text("utf-8"))
    assert list(run_json["also"]) == ["builtin"]


@needs_torch
@pytest.mark.parametrize(
    ("data", "flags", "said"),
    [
        ("preferences", ["--objective", "sft"], "learned with --objective dpo or orpo or kto"),
        ("answers", ["--objective", "dpo"], "dpo learns from preferences"),
        ("answers", ["--beta", "0.2"], "--beta has no meaning with --objective sft"),
        ("answers", ["--objective", "distill"], "no teacher to distill from"),
        ("answers", ["--teacher", "builtin"], "--teacher has no meaning with --objective sft"),
        ("preferences", ["--loss-type", "ipo", "--label-smoothing", "0.1"], "without loss_type robust"),
        ("preferences", ["--loss-type", "dapo"], "loss_type dapo is not of dpo"),
        ("preferences", ["--objective", "kto", "--loss-type", "ipo"], "--loss-type has no meaning"),
    ],
)
def test_what_does_not_go_together(data, flags, said, tmp_path, capsys, request):
    assert tune(request.getfixturevalue(data), tmp_path / "run", *flags) != 0
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@needs_torch
def test_both_files_have_to_fit(preferences, answers, tmp_path, capsys):
    assert tune(preferences, tmp_path / "run", "--validation", str(answers)) != 0
    assert "answers.jsonl holds prompt and completion" in capsys.readouterr().err


@needs_torch
def test_a_teacher_of_another_vocabulary_is_refused():
    from fairway.errors import UnsupportedError
    from fairway.formats.open import open_bundle
    from fairway.registry.resolve import resolve
    from fairway.text import loader
    from fairway.tune import teacher

    bundle = open_bundle(resolve("builtin", lambda *_: None).path)

    class Shifted:
        def __init__(self, real) -> None:
            self.vocab_size = real.vocab_size
            self._real = real

        def emitted_bytes(self, number: int, skip: bool) -> bytes:
            return self._real.emitted_bytes((number + (number >= 300)) % self.vocab_size, skip)

    real = loader.load_tokenizer(bundle.tokenizer)
    found = iter([real, Shifted(real)])
    with pytest.MonkeyPatch.context() as patch, pytest.raises(UnsupportedError, match="token 300 is"):
        patch.setattr(teacher, "load_tokenizer", lambda source: next(found))
        teacher.check_vocabulary(bundle, bundle)
