"""The command: what it understands, and what is on disk when it is stopped."""

import json
import sys

import pytest
from benchmarks.comparison.budget import Budget
from benchmarks.comparison.columns import COLUMN_KEYS
from benchmarks.comparison.results import Report, Row, read_report

from benchmarks import compare


class Stopped:
    """Two turns; the third is stopped in its middle, when it has one value already."""

    def __init__(self, tmp_path):
        self.row = Row("Fairway", "int4")
        self.folder = tmp_path

    def report(self):
        return Report("2026-01-02 03:04 UTC", "m", {}, {}, 1, {"stream": "1 stream"}, [self.row])

    def turns(self, budget):
        for value in (1.0, 2.0):
            self.row.add("stream", value)
            yield self.report()
            on_disk = read_report(self.folder / "2026-01-02-0304-m.json")
            assert on_disk.rows[0].values["stream"][-1] == value
        self.row.add("stream", 3.0)
        raise SystemExit("stopped")


def test_a_run_that_is_stopped_keeps_what_it_has(tmp_path):
    with pytest.raises(SystemExit, match="stopped"):
        compare.measure(Stopped(tmp_path), Budget(), tmp_path)
    assert read_report(tmp_path / "2026-01-02-0304-m.json").rows[0].values == {"stream": [1.0, 2.0, 3.0]}
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".md", ".svg"}


def choice(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["compare.py", *words])
    args = compare.arguments()
    return compare.choice_of(args, args.shapes[0])


def test_everything_is_the_default(monkeypatch):
    default = choice(monkeypatch)
    assert default.columns == COLUMN_KEYS
    assert (default.rounds, default.http, default.shape) == (3, False, "qwen2.5-0.5b")
    assert default.has("vLLM CPU bf16")


def test_choosing(monkeypatch):
    chosen = choice(monkeypatch, "--engines", "llama.cpp,openvino genai int4", "--columns", "none", "--http")
    assert chosen.columns == () and chosen.http
    assert [chosen.has(name) for name in ("Fairway int8", "llama.cpp Q8_0", "OpenVINO GenAI int8")] == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--columns", "speed"], "no column speed"), (["--shapes", "gpt-9"], "no shape gpt-9")],
)
def test_what_is_not_there_is_said(monkeypatch, words, message):
    with pytest.raises(SystemExit, match=message):
        choice(monkeypatch, *words)


def test_json_is_the_report(tmp_path):
    report = Stopped(tmp_path).report()
    compare.write(report, tmp_path)
    assert json.loads((tmp_path / f"{report.stem}.json").read_text()) == report.to_dict()
