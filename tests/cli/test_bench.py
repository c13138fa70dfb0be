"""`fairway bench` on a tiny random model, all the way."""

import json

import pytest

from fairway.cli import bench_limits
from fairway.cli import main as cli
from fairway.kernels.machine_limits import MachineLimits

FLAGS = ["--prompt", "20", "--generate", "4", "--repeat", "1"]


def bench(capsys, *flags: str) -> str:
    assert cli.run(["bench", "random:tiny", *FLAGS, *flags]) == 0
    return capsys.readouterr().out


def test_json_is_a_list_with_a_row_per_batch(capsys):
    rows = json.loads(bench(capsys, "--batch", "1,3", "--json"))
    assert [row["batch"] for row in rows] == [1, 3]
    assert all(row["prefill_tokens_per_s"] > 0 and row["decode_tokens_per_s"] > 0 for row in rows)


def test_over_http(capsys):
    (row,) = json.loads(bench(capsys, "--batch", "2", "--json", "--http"))
    assert row["http_output_tokens_per_s"] > 0 and row["http_first_token_s"] > 0


def test_limits_stand_beside_each_phase(capsys, monkeypatch):
    machine = MachineLimits(2, memory_bytes_per_s=1e15, int8_ops_per_s=1e18, f32_ops_per_s=1e18)
    monkeypatch.setattr(bench_limits, "measure_limits", lambda *_: machine)
    (row,) = json.loads(bench(capsys, "--batch", "2", "--json", "--limits"))
    assert row["limits"]["memory_bytes_per_s"] == 1e15
    assert 0 < row["decode_share"]["bytes_per_s"] < 1e15
    assert set(row["prefill_share"]) == {"bytes_per_s", "ops_per_s", "memory_share", "products_share"}
    shown = bench(capsys, "--batch", "2", "--limits")
    assert "memory 1000000.0 GB/s" in shown and "of limit" in shown


def test_the_table_has_the_same(capsys):
    shown = bench(capsys, "--batch", "1")
    assert "prefill" in shown and "decode" in shown and "±" in shown


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--batch", "1,x"], "'1,x' is not a list of sizes; write for example 1,8,32."),
        (["--prompt", "2000"], "exceed the context of 1024. Try --prompt 1020"),
        (["--batch", "90000", "--prompt", "900", "--kv-share", "0.01"], "tokens of cache"),
    ],
)
def test_an_impossible_workload_is_refused(capsys, flags, message):
    assert cli.run(["bench", "random:tiny", *FLAGS, *flags]) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")
