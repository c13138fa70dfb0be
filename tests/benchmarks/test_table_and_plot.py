import xml.etree.ElementTree as ElementTree

import pytest
from benchmarks.comparison.http_loads import FIRST, FIRST_P95, GAP_P95, LOADS, OF_OFFLINE, OFFLINE, READY
from benchmarks.comparison.numbers import number
from benchmarks.comparison.plot import svg
from benchmarks.comparison.results import Limits, Report, Row
from benchmarks.comparison.table import markdown

TITLES = {"prefill": "prefill 512", "stream": "1 stream", "load_s": "load, s", "memory_bytes": "memory, GB"}


def http_row(engine, rate):
    values = {READY: [1.0], OFFLINE.key: [2 * rate], OF_OFFLINE: [0.5]}
    for load in LOADS:
        values[load.key] = [rate]
        values |= {load.time_key(what): [1 / rate] for what in (FIRST, FIRST_P95, GAP_P95)}
    return Row(engine, values=values)


@pytest.fixture
def report():
    ours = {"prefill": [2000.0, 1900.0, 2100.0], "stream": [150.0], "load_s": [0.5], "memory_bytes": [6e8],
            "others": [0.1], "int8_before": [1.8e12]}  # fmt: skip
    peer = {"prefill": [1000.0], "stream": [100.0], "load_s": [0.25], "memory_bytes": [3e8]}
    rows = [
        Row("Fairway", "int4", "0.1.0", ours, weight_bytes=200_000_000, kv_bytes=300_000_000),
        Row("Peer <&>", "Q4_0", "9", peer),
        Row("Half", "bf16", values={"prefill": [500.0]}),
        Row("Gone", "bf16", reason="it said no"),
    ]
    limits = Limits([40e9], [2e12], [1e12])
    http = [http_row("Fairway", 400.0), http_row("other", 100.0)]
    return Report("2026-01-02 03:04 UTC", "shape", {"threads": 2}, {"rounds": 3}, 250_000_000, TITLES, rows,
                  http, limits)  # fmt: skip


def test_the_best_is_bold_and_spread_is_shown(report):
    text = markdown(report)
    assert "| Fairway int4 0.1.0 | **2000** (1900-2100) | **150** | 0.50 | 0.60 |" in text
    assert "| Peer <&> Q4_0 9 | 1000 | 100 | **0.25** | **0.30** |" in text


def test_ratios_name_the_best_peer_and_turn_times_round(report):
    ratios = " | ".join(f"**{ratio}x** (Peer <&> Q4_0)" for ratio in ("2.00", "1.50", "0.50", "0.50"))
    assert f"| **Fairway int4 / best peer** | {ratios} |" in markdown(report)


def test_shares_of_the_limits(report):
    text = markdown(report)
    assert "| Fairway int4 | 50% | 75% | 10% | 90% |" in text
    assert "| Peer <&> Q4_0 | 25% | – | – | – |" in text
    assert "| Half bf16 | 25% | – | – | – |" in text, "bf16 engines have the bf16 limit"


def test_memory_that_is_neither_weights_nor_cache(report):
    assert "- Fairway int4, resident: weights 200 MB, cache 300 MB, all else 100 MB" in markdown(report)


def test_a_busy_machine_is_called_busy(report):
    assert "others used 10% of the processor: busy" in markdown(report)
    report.rows[0].values["others"] = [0.01]
    assert "others used 1% of the processor: quiet" in markdown(report)


def test_who_was_not_measured_is_there_with_the_reason(report):
    text = markdown(report)
    assert "| Gone bf16 | – | – | – | – |" in text
    assert "- Gone bf16: it said no" in text


def test_http_has_a_table_for_each_figure(report):
    text = markdown(report)
    assert "| Fairway | " + "**400** | " * 6 + "**800** | **0.50** | **1.00** |" in text
    assert text.count("| other | 0.01 |") == 3
    assert "**4.00x** (other)" in text


def test_nothing_measured_is_still_a_page():
    empty = Report("2026-01-02", "shape", {}, {}, 1, {}, [], [Row("Fairway", reason="no")])
    assert "- Fairway: no" in markdown(empty)


def test_the_plot_is_xml_with_a_bar_for_each_rate(report):
    root = ElementTree.fromstring(svg(report))
    bars = [each for each in root.iter() if each.get("class") == "bar"]
    assert len(bars) == 5  # three engines and two columns, of which one has one; load is not a rate
    assert max(float(bar.get("width")) for bar in bars) < 330


@pytest.mark.parametrize(("value", "text"), [(1234.4, "1234"), (12.34, "12.3"), (0.5, "0.50")])
def test_numbers(value, text):
    assert number(value) == text
