import json

import pytest
from benchmarks.comparison.results import OTHERS, Limits, Report, Row, best_peer, ratio, report_from


def row(engine, variant="", **values):
    return Row(engine, variant, values={key: list(each) for key, each in values.items()})


ROWS = [
    row("Fairway", "int4", stream=[100, 120, 110], load_s=[0.5]),
    row("A", "Q4_0", stream=[50, 80, 60], load_s=[1.0]),
    row("B", stream=[90, 20, 20], load_s=[2.0]),
    Row("C", "bf16", reason="no such package"),
]


def test_median_and_spread():
    assert (ROWS[0].median("stream"), ROWS[0].spread("stream")) == (110, (100, 120))
    assert (ROWS[3].median("stream"), ROWS[3].spread("stream")) == (None, None)


def test_best_peer_is_the_best_median_of_the_others():
    assert best_peer(ROWS, "stream").name == "A Q4_0"
    assert best_peer(ROWS, "load_s").name == "A Q4_0"
    assert best_peer(ROWS[:1], "stream") is None


@pytest.mark.parametrize(("column", "expected"), [("stream", 110 / 60), ("load_s", 2.0)])
def test_ratio_above_one_is_better(column, expected):
    assert ratio(ROWS[0], ROWS, column) == pytest.approx(expected)


def test_no_ratio_without_a_peer_or_a_value():
    assert ratio(ROWS[0], ROWS[:1], "stream") is None
    assert ratio(ROWS[3], ROWS, "stream") is None


def test_a_report_survives_json():
    limits = Limits([40e9, 50e9, 45e9], [1.9e12], [0.0])
    workload = {"rounds": 3}
    report = Report("2026-01-02 03:04 UTC", "m", {"threads": 2}, workload, 10, {"stream": "1 stream"}, ROWS)
    report.limits = limits
    again = report_from(json.loads(json.dumps(report.to_dict())))
    assert again == report
    assert (again.limits.memory, again.limits.bf16) == (50e9, 0)


@pytest.mark.parametrize(
    ("shares", "quiet"), [([0.01, 0.02, 0.9], True), ([0.2, 0.3, 0.01], False), ([], False)]
)
def test_a_quiet_machine_is_one_that_others_used_little_at_most_turns(shares, quiet):
    rows = [row("Fairway", others=shares[:1]), row("A", others=shares[1:])]
    report = Report("2026-01-02 03:04 UTC", "m", {}, {}, 10, {}, rows)
    assert OTHERS == "others"
    assert report.is_quiet is quiet


def test_two_runs_of_a_day_are_two_files():
    morning, evening = (
        Report(f"2026-01-02 {time} UTC", "m", {}, {}, 1, {}, []) for time in ("03:04", "21:00")
    )
    assert (morning.stem, evening.stem) == ("2026-01-02-0304-m", "2026-01-02-2100-m")
