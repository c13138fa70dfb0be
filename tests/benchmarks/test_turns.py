"""Whole rounds with engines that only pretend."""

from benchmarks.comparison.budget import Budget
from benchmarks.comparison.columns import FIRST_LOAD, LOAD, MEMORY, columns_for
from benchmarks.comparison.results import INT8_BEFORE


def test_everyone_has_a_turn_and_who_cannot_has_a_reason(contest):
    assert len(list(contest.round(Budget()))) == 2, "who could not be prepared has no turn"
    good, broken, gone = (each.row for each in contest.contestants)
    assert good.version == "1.2"
    assert {
        key: values for key, values in good.values.items() if key in ("stream", "batch8", INT8_BEFORE)
    } == {
        "stream": [32.0],
        "batch8": [128.0],
        INT8_BEFORE: [9e11],
    }
    assert (good.values[FIRST_LOAD], good.values[LOAD]) == ([5.0], [1.0])
    assert good.values[MEMORY][0] > 1 << 20
    assert "no such kernel" in broken.reason
    assert "no such format" in gone.reason


def test_the_first_load_finds_nothing_kept_in_every_round(contest):
    for _ in range(2):
        list(contest.round(Budget()))
    row = contest.contestants[0].row
    assert (row.values[FIRST_LOAD], row.values[LOAD]) == ([5.0, 5.0], [1.0, 1.0])


def test_a_slow_starter_stays_and_is_started_once(contest, monkeypatch):
    monkeypatch.setattr("benchmarks.comparison.turns.KEEP_AFTER_S", 0.5)
    for _ in range(2):
        list(contest.round(Budget()))
    row = contest.contestants[0].row
    assert (len(row.values[LOAD]), len(row.values["stream"])) == (1, 2)


def test_no_turn_begins_when_the_time_is_over(contest):
    assert list(contest.round(Budget(minutes=0))) == []
    assert contest.contestants[0].row.values == {}


def test_a_column_that_fails_is_named(contest, monkeypatch):
    contest.columns = [column for column in columns_for(256, 8) if column.key == "stream"]
    object.__setattr__(contest.columns[0], "generate", 12)
    list(contest.round(Budget()))
    assert contest.contestants[0].row.reason.startswith("1 stream: ")
    assert "thirteen" in contest.contestants[0].row.reason
