"""The protocol between the comparison and its workers, with a worker that only pretends."""

import sys
from pathlib import Path

import pytest
from benchmarks.comparison import worker_process
from benchmarks.comparison.worker_process import WorkerProcess
from benchmarks.peers.protocol import Command, Unavailable
from benchmarks.peers.table import PEERS
from frame import Times, Watch, times_of_stamps

WORKERS = Path(worker_process.__file__).parents[1] / "workers"
PRETENDER = Path(__file__).with_name("pretender.py")


@pytest.fixture
def start(tmp_path):
    started = []

    def start(variant="int4"):
        settings = {"variant": variant, "threads": 1, "sequences": 8, "length": 64, "cache_tokens": 512}
        command = Command(Path(sys.executable), str(PRETENDER), tmp_path)
        started.append(WorkerProcess(command, settings, tmp_path / "log", tmp_path / "kept"))
        return started[-1]

    yield start
    for worker in started:
        worker.stop()


def test_a_worker_tells_what_it_is_and_answers(start):
    worker = start()
    assert (worker.version, worker.weight_bytes) == ("1.2", 7)
    assert worker.ask([[1, 2], [3, 4]], 5) == {"first_s": 0.5, "after_first_s": 2.0, "num_after_first": 8}
    assert 1 << 20 < worker.peak_bytes < 1 << 30


def test_a_paused_worker_goes_on_later(start):
    worker = start()
    worker.pause()
    worker.resume()
    assert worker.ask([[1]], 2)["num_after_first"] == 1


def test_a_worker_that_cannot_start_says_why(start):
    with pytest.raises(Unavailable, match="no such kernel"):
        start("broken")


def test_a_worker_that_dies_says_why(start):
    worker = start()
    with pytest.raises(Unavailable, match="thirteen"):
        worker.ask([[1]], 13)


def test_a_worker_that_does_not_answer_is_given_up(start, monkeypatch):
    worker = start()
    monkeypatch.setattr(worker_process, "TIMEOUT_S", 0.05)
    with pytest.raises(Unavailable, match="no answer"):
        worker.ask([[1]], 14)


def test_what_a_worker_keeps_makes_its_next_start_another(start):
    assert [start().load_s for _ in range(2)] == [5.0, 1.0]


def test_only_what_comes_when_everyone_has_a_token_counts_as_decoding():
    watch = Watch(["a", "b"])
    for new in ({"a": 1}, {"a": 1, "b": 1}, {"a": 1, "b": 1}, {"a": 1, "b": 1}):
        watch.saw(new)
    assert watch.times().num_after_first == 4


def test_stamps():
    assert times_of_stamps(1.0, [3.0, 4.0, 6.0], batch=8) == Times(2.0, 3.0, 16)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_every_peer_has_a_worker(peer, tmp_path):
    assert peer.variants
    assert (WORKERS / peer.worker).exists()
