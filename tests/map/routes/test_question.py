"""What can be asked, and what contradicts itself."""

import pytest

from fairway.errors import UsageError
from fairway.map.routes.question import Budget, Question
from fairway.map.settings import PlanSettings


@pytest.mark.parametrize(
    ("text", "budget", "words"),
    [
        ("100", Budget(100, "month"), "$100 a month"),
        ("$2.5/h", Budget(2.5, "h"), "$2.5 an hour"),
        ("0.5/M", Budget(0.5, "M"), "$0.5 a million tokens"),
        (" 20/month ", Budget(20, "month"), "$20 a month"),
    ],
)
def test_budgets(text, budget, words):
    assert Budget.parse(text) == budget and str(budget) == words


@pytest.mark.parametrize("text", ["", "cheap", "-5", "5/year", "1,000"])
def test_what_is_no_budget(text):
    with pytest.raises(UsageError, match="is no budget"):
        Budget.parse(text)


@pytest.mark.parametrize(
    ("goal", "users", "weights", "says"),
    [
        ("smallest", None, "bf16", "--goal smallest and --weights bf16 contradict"),
        ("train", 4, "auto", "--goal train and --users contradict"),
    ],
)
def test_contradictions_are_one_sentence(goal, users, weights, says):
    with pytest.raises(UsageError, match=says):
        Question.asked(goal, users, None, PlanSettings(weights=weights))


@pytest.mark.parametrize(
    ("goal", "users", "expected"),
    [
        (None, None, 1),
        ("latency", None, 1),
        ("throughput", None, 32),
        ("cheapest", None, 8),
        ("latency", 5, 5),
    ],
)
def test_people_at_once(goal, users, expected):
    assert Question.asked(goal, users, None, PlanSettings()).users == expected


def test_a_short_context_holds_prompt_and_answer():
    load = Question().load(100)
    assert load.prompt + load.answer <= 100 and Question().load(8192).prompt == 512
