import json

import pytest
from benchmarks.comparison.results import Limits, Report, Row, best_peer, ratio, report_from


def row(engine, variant="", **values):
    return Row(engine, variant, values={key: list(each) for key, each in values.items()})


ROWS = [
    row("Fairway", "int4", stream=[100, 120, 110], load=[0.5]),
    row("A", "Q4_0", stream=[50, 80, 60], load=[1.0]),
    row("B", stream=[90, 20, 20], load=[2.0]),
    Row("C", "bf16", reason="no such package"),
]


def test_median_and_spread():
    assert (ROWS[0].median("stream"), ROWS[0].spread("stream")) == (110, (100, 120))
    assert (ROWS[3].median("stream"), ROWS[3].spread("stream")) == (None, None)


def test_best_peer_is_the_best_median_of_the_others():
    assert best_peer(ROWS, "stream").name == "A Q4_0"
    assert best_peer(ROWS, "load", lower_is_better=True).name == "A Q4_0"
    assert best_peer(ROWS[:1], "stream") is None


@pytest.mark.parametrize(("column", "lower", "expected"), [("stream", False, 110 / 60), ("load", True, 2.0)])
def test_ratio_above_one_is_better(column, lower, expected):
    assert ratio(ROWS[0], ROWS, column, lower) == pytest.approx(expected)


def test_no_ratio_without_a_peer_or_a_value():
    assert ratio(ROWS[0], ROWS[:1], "stream") is None
    assert ratio(ROWS[3], ROWS, "stream") is None


def test_a_report_survives_json():
    limits = Limits([40e9, 50e9, 45e9], [1.9e12])
    workload = {"rounds": 3}
    report = Report("2026-01-02 03:04 UTC", "m", {"threads": 2}, workload, 10, {"stream": "1 stream"}, ROWS)
    report.limits = limits
    again = report_from(json.loads(json.dumps(report.to_dict())))
    assert again == report
    assert again.limits.memory == 50e9
