"""The ways of the adapter benchmark really differ, and its figures are ratios within a round."""

import argparse

import pytest

from benchmarks import adapters as bench


def test_every_way_decodes_and_is_divided_by_the_bases_round(monkeypatch):
    args = argparse.Namespace(
        shape="tiny", weights="int4", adapters=2, rank=4, steps=2, rounds=2, threads=1, batches="4"
    )
    loaded = bench.loaded_model(args, [4])
    names, num_bytes = bench.load_adapters(loaded, args.adapters, args.rank)
    assert num_bytes > 0
    batches = []
    run = loaded.runner.run
    monkeypatch.setattr(loaded.runner, "run", lambda batch: batches.append(batch) or run(batch))
    ways = {
        bench.BASE: bench.Way(loaded.engine, [""]),
        "2 adapters": bench.Way(loaded.engine, names),
        "no adapters recorded": bench.Way(bench.without_adapters(loaded), [""]),
    }
    rates = bench.measure(ways, 4, args)
    assert all(len(each) == 2 and min(each) > 0 for each in rates.values())
    assert {chunk.adapter for batch in batches for chunk in batch.chunks} == {"", *names}
    assert bench.ratios(rates)[bench.BASE] == [1, 1]


def test_the_page_has_medians_and_the_middle_half():
    rates = {bench.BASE: [100.0, 200.0, 100.0], "8 adapters": [90.0, 170.0, 80.0]}
    assert bench.spread(bench.ratios(rates)["8 adapters"]) == "0.850 (0.825 to 0.875)"
    text = bench.page({32: rates}, {"model": "m", "date": "2000-01-01"})
    assert "| 8 adapters | 90.0 | 0.850 (0.825 to 0.875) |" in text
    assert bench.spread([0.5]) == "0.500"
    assert bench.ratios(rates)["8 adapters"] == pytest.approx([0.9, 0.85, 0.8])
