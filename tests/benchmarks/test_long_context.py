"""Costs by depth on an engine without a model, llama-bench's JSON, and the page."""

import pytest
from benchmarks.long_context import depths, page, picture
from benchmarks.workloads.depths import CHUNK, Cost, engine_costs, llama_costs, llama_rates

from fairway.engine.engine import Engine
from fairway.engine.fake_runner import FakeRunner
from fairway.engine.limits import EngineSettings


def engine(**fields):
    runner = FakeRunner(max_context=4096, num_blocks=256, max_tokens=CHUNK, max_sequences=1, **fields)
    return Engine(runner, EngineSettings(max_step_tokens=CHUNK))


def test_depths_double_and_the_last_one_fits_with_its_chunk():
    assert depths(32_768, 16) == [512, 1024, 2048, 4096, 8192, 16_384, 31_744]
    assert (depths(2048, 16), depths(1536, 16)) == ([512, 1024], [512])
    assert all(depth % CHUNK == 0 and depth + CHUNK + 8 <= 4104 for depth in depths(4104, 8))
    with pytest.raises(SystemExit, match="too short"):
        depths(1024, 16)


def test_the_prompt_is_read_once_however_many_depths():
    seen = []
    measured = engine(before_run=lambda batch: seen.append(batch.num_tokens))
    costs = list(engine_costs(measured, [512, 1024, 2048], 4))
    assert [cost.depth for cost in costs] == [512, 1024, 2048]
    assert all(cost.prefill > cost.decode > 0 for cost in costs)
    reads = [count for count in seen if count > 1]
    assert reads == [CHUNK] * 5 and seen.count(1) == 9


def test_an_engine_with_other_steps_is_refused():
    with pytest.raises(ValueError, match="512"):
        list(engine_costs(Engine(FakeRunner(max_tokens=64)), [512], 4))


def test_rates_of_llama_bench():
    tests = [{"n_prompt": 512, "n_gen": 0, "avg_ts": 300.5}, {"n_prompt": 0, "n_gen": 16, "avg_ts": 40.25}]
    assert llama_rates(1024, tests) == Cost(1024, 300.5, 40.25)


def test_llama_stops_when_its_time_is_over(tmp_path):
    tool = tmp_path / "llama-bench"
    answer = '[{"n_prompt": 1, "n_gen": 0, "avg_ts": 2}, {"n_prompt": 0, "n_gen": 1, "avg_ts": 1}]'
    tool.write_text(f"#!/bin/sh\nsleep 0.2\necho '{answer}'\n")
    tool.chmod(0o755)
    costs = list(llama_costs(tool, tmp_path / "m.gguf", [512, 1024, 2048], 4, 1, limit_s=0.5))
    assert costs == [Cost(512, 2, 1)]


def test_the_page_leaves_a_gap_where_nothing_was_measured():
    curves = {"ours": [Cost(512, 1000, 50), Cost(1024, 900, 40)], "theirs": [Cost(512, 500, 25)]}
    text = page(curves, {"model": "m", "date": "2000-01-01"})
    assert "| 1,024 | 900.0 | – |" in text and "| 512 | 50.0 | 25.0 |" in text
    drawn = picture(curves, "m")
    assert drawn.count("<polyline") == 2 and drawn.count("<circle") == 3 and "1 k" in drawn
