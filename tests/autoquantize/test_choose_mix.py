"""The choice itself, on made-up divergences: goals are reached by what is measured, not what was foretold."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairway.autoquantize.choose import AUTO, Chooser, above
from fairway.autoquantize.explain import explanation, record_of, types_by_group
from fairway.autoquantize.measure import FEW_WINDOWS, Measured
from fairway.autoquantize.settings import Goal
from fairway.autoquantize.task import task_of
from fairway.errors import UsageError
from fairway.proof.likeness import Likeness

COST = {"Q2_K": 7.2e-2, "Q3_K": 2.1e-2, "Q4_K": 5e-3, "Q5_K": 1.3e-3, "Q6_K": 2.9e-4, "Q8_0": 2.9e-5}


@dataclass
class Made:
    """`Measuring` of a model whose divergences follow a formula."""

    weights: dict[str, float]
    """How much each tensor matters."""
    bend: float = 1.0
    """What a whole mix costs beside the sum of its parts."""
    num_windows: int = 8
    num_tokens: int = 2048
    asked: list[dict[str, str]] = field(default_factory=list)

    def divergence(self, types):
        return sum(self.weights.get(name, 0.02) * COST[kind] for name, kind in types.items())

    def measure(self, types):
        self.asked.append(dict(types))
        kl = self.bend * self.divergence(types)
        return Measured(Likeness(10 + kl, 10, kl, 4 * kl, 1 - kl, 2048), self.divergence(types), 100.0)

    def knows(self, types, *, few):
        return False


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    from fairway.convert.hops import prepare
    from fairway.convert.settings import ConvertSettings
    from fairway.formats.open import open_bundle
    from fairway.registry.resolve import BUILTIN_FOLDER

    out = tmp_path_factory.mktemp("task") / "builtin.gguf"
    return task_of(prepare(open_bundle(BUILTIN_FOLDER), ConvertSettings(to="gguf", type="Q8_0", out=out)))


def made_for(task, seed=0, **more):
    random = np.random.default_rng(seed)
    return Made({job.source: float(random.lognormal(-3, 1.5)) for job in task.jobs}, **more)


def chosen(task, measuring, goal):
    seen = []
    chooser = Chooser(task, measuring, goal, lambda done, total, what: seen.append((done, total)))
    choice = chooser.choose("a made-up text")
    assert all(0 < done <= total for done, total in seen)
    return choice


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(seed=st.integers(0, 999), share=st.floats(0, 1), bend=st.floats(0.5, 2))
def test_a_budget_is_never_exceeded_and_no_usual_mix_is_better(task, seed, share, bend):
    budget = int(task.smallest + share * (task.largest - task.smallest - 1))
    choice = chosen(task, made_for(task, seed, bend=bend), Goal(budget))
    assert choice.chosen.num_bytes == task.size(choice.chosen.types) <= budget
    fitting = [each.divergence for each in choice.candidates if each.num_bytes <= budget]
    assert choice.chosen.divergence == min(fitting)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(seed=st.integers(0, 999), share=st.floats(0.02, 0.98), bend=st.floats(0.5, 2))
def test_a_quality_is_reached_however_wrong_the_prediction(task, seed, share, bend):
    measuring = made_for(task, seed, bend=bend)
    fine, coarse = (
        bend * measuring.divergence(dict.fromkeys(measuring.weights, kind)) for kind in ("Q8_0", "Q2_K")
    )
    quality = fine ** (1 - share) * coarse**share
    choice = chosen(task, measuring, Goal(quality=quality))
    assert choice.chosen.divergence <= quality
    passing = [each.num_bytes for each in choice.candidates if each.divergence <= quality]
    assert choice.chosen.num_bytes == min(passing)
    assert choice.chosen.divergence >= 0.8 * quality  # a smaller one would not do
    assert len(measuring.asked) <= len(task.usual) + 10


def test_a_quality_that_nothing_has_says_what_can_be_had(task):
    with pytest.raises(UsageError, match="No mix stays within --quality 1e-09") as error:
        chosen(task, made_for(task), Goal(quality=1e-9))
    asked = float(error.value.hint.split("--quality ")[1].split(",")[0])
    assert chosen(task, made_for(task), Goal(quality=asked)).chosen.divergence <= asked


def test_a_usual_mix_that_is_better_is_taken(task):
    """Where parts say nothing of the whole, what was measured decides."""

    class Whole(Made):
        def measure(self, types):
            measured = super().measure(types)
            if types == task.stored(task.usual["Q4_K_M"]):
                return Measured(Likeness(10, 10, 1e-6, 1e-6, 1.0, 2048), 1e-6, 100.0)
            return measured

    size = task.size(task.usual["Q4_K_M"])
    choice = chosen(task, Whole(made_for(task).weights), Goal(size))
    assert choice.chosen.name == "Q4_K_M"
    assert explanation(choice)[0].startswith("The usual mix Q4_K_M")
    assert AUTO in [each.name for each in choice.candidates]


def test_sensitive_matrices_get_more_bits_and_three_lines_say_so(task):
    weights = {job.source: 5.0 if "attn_v" in job.name else 0.01 for job in task.jobs}
    choice = chosen(task, Made(weights), Goal(3_600_000))
    lines = explanation(choice)
    assert len(lines) == 3
    assert lines[0].startswith("A mix of its own, 3.60 MB: KL ")
    assert "the usual mix nearest in size" in lines[1]
    assert "% less" in lines[1]
    assert "given most: attn_v (8.5 bits)" in lines[2]
    assert types_by_group(choice)["attn_v"] == "Q8_0 0-5"
    record = record_of(choice)
    assert record["budget_bytes"] == 3_600_000
    assert record["kl_mean"] == pytest.approx(choice.chosen.divergence, rel=1e-3)


def test_the_work_is_known_before(task):
    chooser = Chooser(task, made_for(task), Goal(3_000_000), lambda *_: None)
    assert chooser.num_windows == FEW_WINDOWS * 44 + 8 * (len(task.usual) + 1)
    assert chooser.estimate_s(10.0) == pytest.approx(10 * chooser.num_windows, rel=0.05)


@pytest.mark.parametrize(
    ("value", "text"), [(0.00103, "0.0011"), (0.0011, "0.0011"), (3.0, "3"), (9.99, "10")]
)
def test_a_number_that_is_no_smaller(value, text):
    assert above(value) == text
