"""Clients and rounds against a server that only pretends."""

import sys
from pathlib import Path

import pytest
from benchmarks.comparison.budget import Budget
from benchmarks.comparison.http_loads import (
    CROWDS,
    GENERATE,
    LOADS,
    OF_OFFLINE,
    OFFLINE,
    READY,
    SHARED,
    Load,
    Texts,
    offline_rate,
)
from benchmarks.comparison.http_rounds import HttpContestant, http_round, measure, record, running
from benchmarks.comparison.results import Row
from benchmarks.peers.protocol import Unavailable
from benchmarks.peers.servers import Launch

from fairway.map.measure_http import Crowd, Stream

SCRIPT = Path(__file__).with_name("pretend_server.py")


class PretendServer:
    name, variant, engine, ready_path = "pretend", "int4", "Pretender", "/health"

    def install(self, model, place):
        pass

    def launch(self, model, place, port):
        return Launch([sys.executable, str(SCRIPT), str(port)])


@pytest.fixture
def server(contest):
    with running(contest, HttpContestant(PretendServer(), Row("pretend"))) as url:
        yield url


FEW = Load("few", "8 clients", 8, words=3, generate=6)


def test_all_clients_are_counted(server):
    crowd = measure(server, "m", FEW, Texts().of(FEW))
    assert [stream.num_tokens for stream in crowd.streams] == [6] * 8
    assert len(crowd.gaps_s) == 8 * 5


@pytest.mark.parametrize(
    ("model", "reason"), [("busy", "8 clients: .*503"), ("lazy", "wrote 8 of 48 tokens")]
)
def test_a_refusal_or_a_short_answer_is_a_reason(server, model, reason):
    with pytest.raises(Unavailable, match=reason):
        measure(server, model, FEW, Texts().of(FEW))


def test_nobody_there_is_a_reason():
    with pytest.raises(Unavailable, match="8 clients"):
        measure("http://127.0.0.1:9", "m", FEW, Texts().of(FEW))


def test_what_is_written_down_of_a_crowd():
    row = Row("a")
    record(row, FEW, Crowd([Stream([0.5, 0.6, 0.8], 3), Stream([1.5, 1.6, 1.7], 5)], whole_s=2.0))
    medians = {key: row.median(key) for key in row.values}
    assert medians["few"] == 4
    assert medians["few_first_s"] == 1.0
    assert medians["few_first_p95_s"] == pytest.approx(1.45)
    assert medians["few_gap_p95_s"] == pytest.approx(0.185)


def test_a_shared_prefix_is_shared_and_the_rest_is_not():
    loads = dict(Texts().all_loads())
    cold, warm = (loads[load] for load in SHARED)
    assert len({*cold, *warm}) == 64
    assert len({prompt[: 800 * 4] for prompt in cold + warm}) == 1
    assert len(cold[0].split()) == 816


def test_offline_is_the_same_work_as_32_clients():
    crowd = CROWDS[2]
    assert (OFFLINE.batch, OFFLINE.prompt, OFFLINE.generate + 1) == (
        crowd.clients,
        crowd.words,
        crowd.generate,
    )
    assert offline_rate({"first_s": 1.0, "after_first_s": 3.0}) == 32 * GENERATE / 4


def test_a_round_asks_every_load_and_does_one_offline(contest):
    contestant = HttpContestant(PretendServer(), Row("pretend"), contest.contestants[0])
    assert len(list(http_round(contest, [contestant], Texts(), Budget()))) == 1
    row = contestant.row
    assert not row.reason
    assert {READY, *(load.key for load in LOADS)} <= set(row.values)
    assert row.values[OFFLINE.key] == [32 * GENERATE / 2.5]
    assert row.values[OF_OFFLINE] == [row.values["http32"][0] / row.values[OFFLINE.key][0]]


def test_a_server_that_ends_at_once_says_why(contest):
    server = PretendServer()
    server.launch = lambda *_: Launch([sys.executable, "-c", "raise SystemExit('no such model')"])
    contestant = HttpContestant(server, Row("pretend"))
    list(http_round(contest, [contestant], Texts(), Budget()))
    assert contestant.row.reason == "no such model"


def test_no_server_starts_when_the_time_is_over(contest):
    contestant = HttpContestant(PretendServer(), Row("pretend"))
    assert list(http_round(contest, [contestant], Texts(), Budget(minutes=0))) == []
    assert contestant.row.values == {}
