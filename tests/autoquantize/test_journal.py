"""Measurements survive the process, and whatever happened to the file."""

import pytest

from fairway.autoquantize.journal import Journal


def test_what_was_noted_is_found_by_the_next_run(tmp_path):
    Journal(tmp_path / "measured", {"text": "a"}).note("few 1", {"kl": 0.25})
    assert Journal(tmp_path / "measured", {"text": "a"}).find("few 1") == {"kl": 0.25}
    assert Journal(tmp_path / "measured", {"text": "b"}).find("few 1") is None


def test_without_a_folder_nothing_is_kept(tmp_path):
    journal = Journal(None, {})
    journal.note("few 1", {"kl": 1.0})
    assert journal.find("few 1") == {"kl": 1.0}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("rest", [b'["few 2", {"kl"', b"5\n", b"\xff\xfe\n", b"{}\n[1]\n"])
def test_a_damaged_file_costs_time_only(tmp_path, rest):
    Journal(tmp_path, {}).note("few 1", {"kl": 0.25})
    [path] = tmp_path.iterdir()
    path.write_bytes(path.read_bytes() + rest)
    journal = Journal(tmp_path, {})
    assert journal.find("few 1") in ({"kl": 0.25}, None)
    assert journal.find("few 2") is None


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    Journal(tmp_path / "file" / "measured", {}).note("few 1", {"kl": 0.25})
