"""Thousands of broken files: each ends in one sentence, soon and within 200 MB, or opens unharmed."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
SOURCE = FOLDER.parents[1] / "src"
MAX_SECONDS = 10.0
"""Of processor time, beyond which a reader hangs. Each needs less than one on a quiet machine; how long
is a measurement, `python tests/formats/run_hostile.py` prints it."""
MAX_BYTES = 200_000_000


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """One child process opens them all; a crash or a hang of it fails here."""
    script = [
        sys.executable,
        "-W",
        "error",
        FOLDER / "run_hostile.py",
        "1",
        tmp_path_factory.mktemp("hostile"),
    ]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    child = subprocess.run(script, capture_output=True, text=True, timeout=110, env=environment)
    assert child.returncode == 0, child.stderr[-2000:]
    return [json.loads(line) for line in child.stdout.splitlines()]


def names(rows):
    return [(row["name"], row["outcome"], row["detail"][:200]) for row in rows]


def test_there_are_at_least_two_thousand_of_each_kind_together(rows):
    kinds = Counter(row["name"].split(":")[0] for row in rows)
    assert len(rows) >= 2000
    assert min(kinds[kind] for kind in ("gguf", "safetensors", "shards", "sidecar")) >= 200


def test_nothing_but_a_fairway_error_ever_escapes(rows):
    assert names(row for row in rows if row["outcome"] == "crash") == []


def test_what_is_broken_is_refused(rows):
    assert names(row for row in rows if row["expect"] == "error" and row["outcome"] != "error") == []


def test_harmless_changes_leave_the_tensors_as_they_are(rows):
    sound = {
        row["name"].split(":")[0]: row["detail"]
        for row in rows
        if row["name"].endswith("re") or row["name"].endswith("is")
    }
    harmless = [row for row in rows if row["expect"] == "same"]
    assert len(harmless) > 15
    wrong = [
        row
        for row in harmless
        if row["outcome"] != "opened" or row["detail"] != sound[row["name"].split(":")[0]]
    ]
    assert names(wrong) == []


def test_none_hangs(rows):
    assert [(row["name"], row["seconds"]) for row in rows if row["seconds"] > MAX_SECONDS] == []


def test_each_takes_less_than_200_megabytes(rows):
    assert [(row["name"], row["peak"]) for row in rows if row["peak"] > MAX_BYTES] == []


def test_each_error_is_one_sentence_that_names_the_file(rows):
    for row in rows:
        if row["outcome"] == "error":
            assert "\n" not in row["detail"], row["name"]
            assert "case" in row["detail"], row["name"]
            assert len(row["detail"]) < 700, row["name"]
