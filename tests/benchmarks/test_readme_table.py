"""The README's table: which result it takes, and what it does to the rest of the page."""

import json
from pathlib import Path

import pytest
from benchmarks.comparison.readme import BEGIN, END, fill_readme, filled, latest_quiet
from benchmarks.comparison.results import Report, Row

ROOT = Path(__file__).parents[2]


def write(folder, date, others, model="qwen2.5-0.5b"):
    row = Row("Fairway", "int4", "1", {"stream": [150.0, 160.0, 170.0], "others": [others]})
    machine = {"threads": 2, "processor": "a processor"}
    workload = {"complete rounds": 3}
    report = Report(f"{date} 03:04 UTC", model, machine, workload, 10, {"stream": "1 stream"}, [row])
    path = folder / f"{report.stem}.json"
    path.write_text(json.dumps(report.to_dict()))
    return path


@pytest.fixture
def readme(tmp_path):
    page = tmp_path / "README.md"
    page.write_text(f"before\n{BEGIN}old\n{END}after\n")
    return page


def test_the_latest_of_a_quiet_machine_is_taken(tmp_path, readme):
    write(tmp_path, "2026-01-01", 0.0)
    quiet = write(tmp_path, "2026-01-02", 0.01)
    write(tmp_path, "2026-01-03", 0.5)
    write(tmp_path, "2026-01-04", 0.0, model="builtin")
    assert latest_quiet(tmp_path) == quiet
    assert quiet.stem in fill_readme(readme, tmp_path)
    text = readme.read_text()
    assert "| Fairway int4 1 | **160** (150-170) |" in text
    assert "(2026-01-02-0304-qwen2.5-0.5b.md)" in text
    assert text.startswith("before\n") and text.endswith("after\n")
    assert "old" not in text


def test_filling_twice_changes_nothing(tmp_path, readme):
    path = write(tmp_path, "2026-01-01", 0.5)
    fill_readme(readme, path)
    once = readme.read_text()
    fill_readme(readme, path)
    assert readme.read_text() == once
    assert "others using\n50% of the processor" in once


def test_without_a_quiet_result_nothing_is_written(tmp_path, readme):
    write(tmp_path, "2026-01-01", 0.5)
    before = readme.read_text()
    with pytest.raises(SystemExit, match="quiet machine"):
        fill_readme(readme, tmp_path)
    assert readme.read_text() == before


def test_a_page_without_the_place_is_an_error():
    with pytest.raises(SystemExit, match="needs the lines"):
        filled("no marks", "text")


def test_the_readme_has_the_place_and_shows_the_latest_quiet_result(tmp_path):
    page = (ROOT / "README.md").read_text("utf-8")
    assert filled(page, "") != page
    if latest_quiet(ROOT / "benchmarks" / "results"):
        (tmp_path / "README.md").write_text(page, "utf-8")
        fill_readme(tmp_path / "README.md", ROOT / "benchmarks" / "results")
        table = (tmp_path / "README.md").read_text("utf-8").partition("| engine |")[2]
        assert table.partition(END)[0] == page.partition("| engine |")[2].partition(END)[0]
