"""Every objective: a run that is stopped and goes on elsewhere gives the bits of one that was left alone."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from objective_cases import CPU, PAIRS, answered, base_decoder, job_of  # noqa: E402
from trl_cases import LABELS, TRIPLES  # noqa: E402

from fairway.tune.checkpoints import Checkpoints  # noqa: E402
from fairway.tune.objectives.kto import Judged, mismatch  # noqa: E402
from fairway.tune.packing import join  # noqa: E402
from fairway.tune.recipe import Recipe  # noqa: E402
from fairway.tune.torch_decoder import tokens_of  # noqa: E402
from fairway.tune.trainer import Interrupted, Trainer, Update  # noqa: E402

CASE = "llama-grouped-heads"
ANSWERED = [answered(each.prompt, each.chosen) for each in TRIPLES]
JUDGED = mismatch([Judged(each, each, good) for each, good in zip(ANSWERED, LABELS, strict=True)])
ITEMS = {"sft": ANSWERED, "dpo": PAIRS, "orpo": PAIRS, "kto": JUDGED, "distill": ANSWERED}


def trainer(objective: str, folder: Path, *, stop_after: int | None = None) -> tuple[Trainer, list[Update]]:
    recipe = Recipe(
        objective=objective, max_steps=6, per_device_train_batch_size=2, learning_rate=1e-2, eval_steps=2
    )
    more = {"teacher": base_decoder} if objective == "distill" else {}
    job = job_of(CASE, recipe, ITEMS[objective], ITEMS[objective][:2], **more)
    told: list[Update] = []
    made = Trainer(job, Checkpoints(folder), told.append, lambda: told[-1].step == stop_after)
    return made, told


@pytest.mark.parametrize("objective", list(ITEMS))
def test_stopped_and_gone_on_is_the_same_bit_for_bit(objective: str, tmp_path: Path) -> None:
    whole, told = trainer(objective, tmp_path / "whole")
    expected = {name: each.clone() for name, each in whole.run().items()}

    stopped, before = trainer(objective, tmp_path / "stopped", stop_after=3)
    with pytest.raises(Interrupted):
        stopped.run()
    going_on, after = trainer(objective, tmp_path / "stopped")
    checkpoint = Checkpoints(tmp_path / "stopped").last()
    assert checkpoint is not None
    going_on.restore(checkpoint)
    found = going_on.run()
    assert all(torch.equal(found[name], each) for name, each in expected.items())
    values = [(each.step, each.loss, each.figures, each.held_out) for each in told]
    assert [(each.step, each.loss, each.figures, each.held_out) for each in before + after] == values


@pytest.mark.parametrize("objective", ["dpo", "orpo", "kto"])
def test_what_is_preferred_becomes_likelier(objective: str, tmp_path: Path) -> None:
    recipe = Recipe(objective=objective, max_steps=15, per_device_train_batch_size=4, learning_rate=2e-2)
    job = job_of(CASE, recipe, ITEMS[objective], ITEMS[objective])
    told: list[Update] = []
    Trainer(job, Checkpoints(tmp_path), told.append).run()
    assert told[-1].figures["rewards/margins"] > told[0].figures["rewards/margins"] + 0.05
    assert told[-1].held_out["rewards/margins"] > 0.05


def test_accuracy_is_how_often_the_likeliest_token_is_right(tmp_path: Path) -> None:
    recipe = Recipe(objective="sft", token_accuracy=True, max_steps=25, learning_rate=5e-2, eval_steps=25)
    told: list[Update] = []
    job = job_of(CASE, recipe, ANSWERED, ANSWERED)
    made = Trainer(job, Checkpoints(tmp_path), told.append)
    tokens = tokens_of(join(ANSWERED), CPU)
    with torch.no_grad():
        logits = job.decoder.logits(job.decoder.hidden(tokens)[tokens.rows])
    expected = (logits.argmax(dim=-1) == tokens.labels).float().mean().item()
    assert made.held_out().figures == {"mean_token_accuracy": pytest.approx(expected)}
    made.run()
    assert told[0].figures["mean_token_accuracy"] == pytest.approx(expected)
    assert told[-1].held_out["mean_token_accuracy"] > 0.9


def test_a_try_before_the_beginning_changes_nothing(tmp_path: Path) -> None:
    tried, _ = trainer("dpo", tmp_path / "tried")
    means, _ = tried.gradients(0)
    assert means.figures["rewards/margins"] == 0.0
    for each in tried.job.trained.values():
        each.grad = None
    whole, _ = trainer("dpo", tmp_path / "whole")
    assert all(torch.equal(a, b) for a, b in zip(tried.run().values(), whole.run().values(), strict=True))
