"""Shares of the cores as numbers, an engine in a process of its own, and idle time."""

import os
import subprocess
import sys
import time

import pytest
from benchmarks.comparison.shapes import write_random
from benchmarks.two_engines import Shared, page
from benchmarks.workloads.chart import bars, round_up
from benchmarks.workloads.cpu_use import cpu_per_minute
from benchmarks.workloads.shared_cores import Rate, engine_processes, rates_of

from fairway.map.random_models import TINY


def test_ratios_are_medians_of_the_rounds():
    shared = Shared()
    for together in (9.0, 8.0, 2.0):
        shared.add([Rate(8, 40), Rate(12, 60)], [Rate(together / 2, 25), Rate(together / 2, 15)])
    assert shared.ratio == pytest.approx(0.8)
    assert shared.cpu_ratio == pytest.approx(20 / 50)
    text = page({"prefill": shared}, {"Fairway int4": 0.25}, {"model": "m", "date": "2000-01-01"})
    assert "| prefill | 10.0 | 8.0 | 80% | 40% |" in text and "| Fairway int4 | 0.25 s |" in text


def test_two_engines_work_at_the_same_time(tmp_path):
    write_random({**TINY, "vocab_size": 512}, tmp_path / "model")
    with engine_processes(2, tmp_path / "model", "int8", 1) as engines:
        assert len({engine.pid for engine in engines}) == 2
        for work in ("1 stream", "prefill"):
            rates = rates_of(engines, work, 0.05)
            assert len(rates) == 2 and all(rate.per_s > 0 and rate.per_cpu_s > 0 for rate in rates)


def test_sleeping_costs_nothing_and_working_costs_a_minute_a_minute():
    assert cpu_per_minute(os.getpid(), 0.2) < 20
    script = "import time\nend = time.monotonic() + 30\nwhile time.monotonic() < end: pass"
    busy = subprocess.Popen([sys.executable, "-c", script])
    time.sleep(0.3)
    try:
        assert cpu_per_minute(busy.pid, 0.5) > 0
    finally:
        busy.kill()
        busy.wait()


def test_charts_have_a_bar_each_and_round_scales():
    drawn = bars("a < b", {"one": 1.0, "two": 0.0})
    assert drawn.count("<rect") == 3 and "a &lt; b" in drawn
    assert [round_up(value) for value in (0, 0.03, 1, 3, 130, 900)] == [1, 0.04, 1, 4, 200, 1000]
