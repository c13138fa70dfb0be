"""The two tables of quantising, and what is measured for them."""

import json
import sys

import numpy as np
import pytest
from benchmarks.workloads.quantized_file import matrices, relative_error

from benchmarks import quantizing
from fairway.formats.gguf_writer import gguf_data, write_gguf
from fairway.quantize.quantize_gguf import quantize_gguf

SPEED = {
    "Fairway": {"seconds": 0.5, "peak_bytes": 1e8},
    "llama-quantize": {"seconds": 2.0, "peak_bytes": 9e8},
}
QUALITY = {
    "Fairway": {"error": 0.05, "kl_mean": 0.01, "same_top": 0.9},
    "llama-quantize": {"error": 0.1, "kl_mean": 0.02, "same_top": 0.8},
}


def test_tables_say_how_many_times_as_fast_and_how_much_better():
    assert "| Q4_0 | 0.50 | 2.00 | 4.0 | 100 | 900 |" in quantizing.speed_table({"Q4_0": SPEED})
    expected = "| Q4_0 | 0.05000 | 0.10000 | 0.500 | 0.01 | 0.02 | 0.500 | 90.00% | 80.00% |"
    assert expected in quantizing.quality_table({"Q4_0": QUALITY})


def test_runs_of_a_day_are_gathered(tmp_path):
    known = {"date": "2000-01-01 00:00 UTC"}
    earlier = known | {"speed": {"Q2_K": SPEED, "Q4_0": {}}, "quality": {}}
    (tmp_path / "2000-01-01-quantizing.json").write_text(json.dumps(earlier), "utf-8")
    found = quantizing.gathered(tmp_path, known | {"speed": {"Q4_0": SPEED}})
    assert found["speed"] == {"Q4_0": SPEED, "Q2_K": SPEED}
    assert list(found["speed"]) == ["Q4_0", "Q2_K"]
    assert found["quality"] == {}


def test_a_process_is_measured_and_its_target_removed(tmp_path):
    target = tmp_path / "target"
    write = [sys.executable, "-c", f"open({str(target)!r}, 'w').write(' ' * 10)"]
    run = quantizing.measured(write, target)
    assert run["seconds"] > 0
    assert run["peak_bytes"] > 1 << 20
    assert not target.exists()
    with pytest.raises(SystemExit, match="ended with 3"):
        quantizing.measured([sys.executable, "-c", "raise SystemExit(3)"], target)


def test_the_middle_of_three_runs_and_the_most_memory():
    runs = [{"seconds": seconds, "peak_bytes": 10 - seconds} for seconds in (1, 9, 2)]
    assert quantizing.middle(runs) == {"seconds": 2, "peak_bytes": 9}


def test_the_error_of_a_file_is_that_of_its_matrices(tmp_path):
    weight = np.random.default_rng(0).standard_normal((8, 256), np.float32)
    source, target = tmp_path / "source.gguf", tmp_path / "target.gguf"
    tensors = {"blk.0.ffn_up.weight": gguf_data("F32", weight.shape, weight)}
    write_gguf(source, {"general.architecture": "llama"}, tensors)
    quantize_gguf(source, target, "Q8_0")
    exact, found = dict(matrices(source)), dict(matrices(target))
    assert relative_error(exact, exact) == 0
    assert 0.003 < relative_error(exact, found) < 0.007
