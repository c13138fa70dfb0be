import xml.etree.ElementTree as ElementTree

import pytest
from benchmarks.comparison.http_loads import LOADS, READY
from benchmarks.comparison.numbers import number
from benchmarks.comparison.plot import svg
from benchmarks.comparison.results import Limits, Report, Row
from benchmarks.comparison.table import markdown

TITLES = {"prefill": "prefill 512", "stream": "1 stream", "load": "load, s"}


def http_row(engine, rate):
    values = {READY: [1.0]}
    for load in LOADS:
        values |= {load.key: [rate], load.first_key: [0.25], load.p95_key: [0.5]}
    return Row(engine, values=values)


@pytest.fixture
def report():
    ours = {"prefill": [2000.0, 1900.0, 2100.0], "stream": [150.0], "load": [0.5], "others": [0.1]}
    rows = [
        Row("Fairway", "int4", "0.1.0", ours, weight_bytes=200_000_000),
        Row("Peer <&>", "Q4_0", "9", {"prefill": [1000.0], "stream": [100.0], "load": [0.25]}),
        Row("Gone", "bf16", reason="it said no"),
    ]
    limits = Limits([40e9], [2e12])
    http = [http_row("Fairway", 400.0), http_row("other", 100.0)]
    return Report("2026-01-02 03:04 UTC", "shape", {"threads": 2}, {"rounds": 3}, 250_000_000, TITLES, rows,
                  http, limits)  # fmt: skip


def test_the_best_is_bold_and_spread_is_shown(report):
    text = markdown(report)
    assert "| Fairway int4 0.1.0 | **2000** (1900-2100) | **150** | 0.50 |" in text
    assert "| Peer <&> Q4_0 9 | 1000 | 100 | **0.25** |" in text


def test_ratios_name_the_best_peer_and_turn_times_round(report):
    assert (
        "| **2.00x** (Peer <&> Q4_0) | **1.50x** (Peer <&> Q4_0) | **0.50x** (Peer <&> Q4_0) |"
        in markdown(report)
    )


def test_shares_of_the_limits(report):
    text = markdown(report)
    assert "| Fairway int4 | 50% | 75% | 10% |" in text
    assert "| Peer <&> Q4_0 | 25% | – | – |" in text


def test_who_was_not_measured_is_there_with_the_reason(report):
    text = markdown(report)
    assert "| Gone bf16 | – | – | – |" in text
    assert "- Gone bf16: it said no" in text


def test_http_lines(report):
    assert "| 128 clients | 400; 0.25 s / 0.50 s | 100; 0.25 s / 0.50 s | 4.00x |" in markdown(report)


def test_nothing_measured_is_still_a_page():
    empty = Report("2026-01-02", "shape", {}, {}, 1, {}, [], [Row("Fairway", reason="no")])
    assert "- Fairway: no" in markdown(empty)


def test_the_plot_is_xml_with_a_bar_for_each_rate(report):
    root = ElementTree.fromstring(svg(report))
    bars = [each for each in root.iter() if each.tag.endswith("rect")][1:]
    assert len(bars) == 4  # two engines, two columns; load is not a rate
    assert max(float(bar.get("width")) for bar in bars) < 330


@pytest.mark.parametrize(("value", "text"), [(1234.4, "1234"), (12.34, "12.3"), (0.5, "0.50")])
def test_numbers(value, text):
    assert number(value) == text
