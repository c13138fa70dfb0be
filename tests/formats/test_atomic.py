"""A file that is written whole or not at all; folders and devices are what they are."""

import os
import sys

import pytest

from fairway.formats.atomic import atomic_file


def test_the_name_points_at_the_whole(tmp_path):
    path = tmp_path / "page.html"
    with atomic_file(path) as file:
        file.write(b"all")
        assert not path.exists()
    assert path.read_bytes() == b"all" and list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_what_was_there(tmp_path):
    path = tmp_path / "page.html"
    path.write_bytes(b"before")

    def write_half():
        with atomic_file(path) as file:
            file.write(b"half")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        write_half()
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


def test_a_folder_is_named(tmp_path):
    with pytest.raises(IsADirectoryError, match=tmp_path.name), atomic_file(tmp_path):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="pipes with names are POSIX")
def test_a_device_is_written_to_and_stays_a_device(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with atomic_file(pipe) as file:
        file.write(b"through")
    assert os.read(reader, 100) == b"through" and pipe.is_fifo()
    os.close(reader)
