"""llama.cpp's worker around a tool that only pretends."""

import pytest
from frame import Settings, Times
from llama_cpp_worker import ATTEMPTS, LlamaCpp

TOOL = """#!/bin/sh
[ "$1" = --version ] && echo "version: 1 (abc)" && exit
echo try >> {tries}
[ $(wc -l < {tries}) -ge {first} ] && echo '{{"t_pp": 0.5, "t_tg": 2.0, "tg": 7}}'
exit {status}
"""


@pytest.fixture
def worker(tmp_path):
    def start(first=1, status=0):
        """The tool says something from its `first` try on."""
        tool = tmp_path / "llama-batched-bench"
        tool.write_text(TOOL.format(tries=tmp_path / "tries", first=first, status=status))
        tool.chmod(0o755)
        model = tmp_path / "model.gguf"
        model.write_bytes(b"12345")
        return LlamaCpp(Settings(str(model), "Q4_0", 2, 8, 64, 512, tools=str(tmp_path)))

    return start


def test_times_are_the_tools_own(worker):
    started = worker()
    assert (started.version, started.weight_bytes) == ("1 (abc)", 5)
    assert started.load_s > 0
    assert started.run([[1, 2, 3]] * 8, 8) == Times(0.5, 2.0, 56)


def test_output_that_was_lost_is_asked_for_again(worker, tmp_path):
    worker(first=3)
    assert (tmp_path / "tries").read_text().count("try") == 3


def test_no_output_at_all_is_an_error(worker):
    with pytest.raises(RuntimeError, match=f"{ATTEMPTS} times"):
        worker(first=1000)


def test_a_failure_is_not_tried_again(worker, tmp_path):
    with pytest.raises(RuntimeError, match="exit status 3"):
        worker(status=3)
    assert (tmp_path / "tries").read_text().count("try") == 1
