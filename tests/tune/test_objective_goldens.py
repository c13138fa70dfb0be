"""Every objective gives the loss, the figures and the gradients that TRL gives."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from objective_cases import PAIRS, answered, base_decoder, fill_lora, job_of  # noqa: E402
from trl_cases import (  # noqa: E402
    ADVANTAGES,
    BETA,
    CASES,
    EPSILON,
    LABEL_SMOOTHING,
    LABELS,
    OLD,
    TEMPERATURE,
    TRIPLES,
    WEIGHTS,
)

from fairway.tune.job import Job  # noqa: E402
from fairway.tune.objectives.grpo import Grpo, Rollout  # noqa: E402
from fairway.tune.objectives.kto import Judged, mismatch  # noqa: E402
from fairway.tune.objectives.logps import token_logps  # noqa: E402
from fairway.tune.objectives.objective import Objective  # noqa: E402
from fairway.tune.objectives.table import kind_of  # noqa: E402
from fairway.tune.recipe import Recipe  # noqa: E402

GOLDENS = Path(__file__).parent / "goldens"
ANSWERED = [answered(each.prompt, each.chosen) for each in TRIPLES]
JUDGED = mismatch([Judged(each, each, good) for each, good in zip(ANSWERED, LABELS, strict=True)])


def begun(job: Job) -> Objective:
    """After its beginning, with a LoRA that has moved since."""
    objective = kind_of(job.recipe.objective).make(job)
    with torch.no_grad():
        objective.begin(lambda done, total, what: None)
    fill_lora(job)
    return objective


def check(case: str, golden: str, objective: Objective, *, tolerance: float = 2e-5) -> None:
    """Of all items as one batch."""
    batch = objective.batch(range(len(objective.job.examples)))
    measured = objective.measured(batch)
    loss = measured.loss / batch.weight
    loss.backward()
    figures = objective.summary({name: value / count for name, (value, count) in measured.figures.items()})
    with np.load(GOLDENS / f"trl-{case}.npz") as wanted:
        assert abs(loss.item() - float(wanted[f"{golden}|loss"])) < tolerance * max(1, abs(loss.item()))
        for name, value in json.loads(str(wanted[f"{golden}|figures"])).items():
            assert abs(figures[name] - value) < tolerance * max(1, abs(value)), name
        prefix = f"{golden}|base_model.model."
        names = [name.removeprefix(prefix) for name in wanted.files if name.startswith(prefix)]
        assert len(names) == 4
        for name in names:
            found, expected = objective.job.trained[name].grad.numpy(), wanted[prefix + name]
            assert np.abs(found - expected).max() < tolerance * max(1, np.abs(expected).max()), name


@pytest.mark.parametrize("loss_type", ["sigmoid", "robust", "ipo"])
@pytest.mark.parametrize("case", CASES)
def test_dpo(case: str, loss_type: str) -> None:
    smoothing = LABEL_SMOOTHING if loss_type == "robust" else 0.0
    recipe = Recipe(objective="dpo", loss_type=loss_type, beta=BETA, label_smoothing=smoothing)
    check(case, f"dpo-{loss_type}", begun(job_of(case, recipe, PAIRS)))


@pytest.mark.parametrize("case", CASES)
def test_orpo(case: str) -> None:
    check(case, "orpo", begun(job_of(case, Recipe(objective="orpo", beta=BETA), PAIRS)))


@pytest.mark.parametrize("case", CASES)
def test_kto(case: str) -> None:
    good, bad = WEIGHTS
    recipe = Recipe(objective="kto", beta=BETA, desirable_weight=good, undesirable_weight=bad)
    check(case, "kto", begun(job_of(case, recipe, JUDGED)))


@pytest.mark.parametrize("case", CASES)
def test_distillation(case: str) -> None:
    """TRL's has no T^2 and no cross entropy."""
    recipe = Recipe(objective="distill", alpha=0.0, temperature=TEMPERATURE)
    objective = begun(job_of(case, recipe, ANSWERED, teacher=base_decoder))
    measure = objective.measured

    def without_square(batch):
        found = measure(batch)
        return type(found)(found.loss / TEMPERATURE**2, found.figures)

    objective.measured = without_square
    check(case, "distill", objective)


@pytest.mark.parametrize("loss_type", ["dapo", "grpo"])
@pytest.mark.parametrize("case", CASES)
def test_grpo(case: str, loss_type: str) -> None:
    recipe = Recipe(
        objective="grpo", loss_type=loss_type, beta=BETA, temperature=TEMPERATURE, epsilon=EPSILON
    )
    job = job_of(case, recipe, ANSWERED, base=base_decoder)
    fill_lora(job)
    objective = Grpo.__new__(Grpo)  # without an engine: what it sampled is here
    objective.job, objective.names = job, ()
    with torch.no_grad():
        now = token_logps(job.decoder, job, ANSWERED, TEMPERATURE)
    rollouts = [
        Rollout(example, float(advantage), np.zeros(0, np.float32), values - torch.from_numpy(moved))
        for example, advantage, values, moved in zip(ANSWERED, ADVANTAGES, now, OLD, strict=True)
    ]
    objective.batch = lambda numbers: objective._batch(rollouts)
    check(case, f"grpo-{loss_type}", objective)


def test_a_preference_counts_the_same_alone_and_in_a_batch() -> None:
    objective = begun(job_of(CASES[0], Recipe(objective="dpo", beta=BETA), PAIRS))
    with torch.no_grad():
        alone = [objective.measured(objective.batch([at])).loss.item() for at in range(len(PAIRS))]
        together = objective.measured(objective.batch(range(len(PAIRS)))).loss.item()
    assert abs(sum(alone) - together) < 1e-5


def test_before_the_first_update_there_is_no_margin() -> None:
    objective = begun(job_of(CASES[0], Recipe(objective="dpo"), PAIRS))
    objective.restore({})
    figures = objective.measured(objective.batch([0, 1])).figures
    assert figures["rewards/margins"] == (0.0, 2)


def test_each_prompt_gets_an_answer_to_another_prompt() -> None:
    prompts = [[1, 2], [1, 2], [3], [4, 4], [4, 4]]
    items = [Judged(answered(prompt, [10 + at]), answered([], []), True) for at, prompt in enumerate(prompts)]
    found = [each.mismatched.ids.tolist() for each in mismatch(items)]
    assert found == [[1, 2, 14], [1, 2, 14], [3, 11], [4, 4, 12], [4, 4, 12]]
    assert mismatch(items[:1])[0].mismatched.ids.tolist() == [1, 2, 10]
