"""Servers take turns too: each is started, asked by growing crowds of clients, and stopped.

Just before, its engine does one of these loads without HTTP, so that the two can be divided.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.comparison.budget import Budget
from benchmarks.comparison.environments import last_line
from benchmarks.comparison.http_loads import (
    COMPARED,
    FIRST,
    FIRST_P95,
    GAP_P95,
    OF_OFFLINE,
    OFFLINE,
    READY,
    Load,
    Texts,
    offline_rate,
)
from benchmarks.comparison.results import Row
from benchmarks.comparison.turns import WARM_UP_PROMPT, WARM_UP_TOKENS, Contest, Contestant, attempt
from benchmarks.peers.protocol import Unavailable
from benchmarks.peers.servers import Server
from fairway.errors import InternalError
from fairway.map.measure_http import Crowd, ask_all

READY_TIMEOUT_S = 600.0
STOP_TIMEOUT_S = 20.0
POLL_S = 0.05
MIN_TOKENS_SHARE = 0.9
"""Answers that are much shorter than asked for are another workload."""


@dataclass
class HttpContestant:
    """A server, its row, and the engine inside it where that is measured on its own."""

    server: Server
    row: Row
    engine: Contestant | None = None


def http_round(
    contest: Contest, contestants: Sequence[HttpContestant], texts: Texts, budget: Budget
) -> Iterator[None]:
    """After every server; the time may be over in the middle."""
    for each in contestants:
        if not each.row.reason and not budget.is_spent:
            attempt(each.row, partial(_turn, contest, each, texts))
            yield


def _turn(contest: Contest, contestant: HttpContestant, texts: Texts) -> None:
    row, engine = contestant.row, contestant.engine
    offline = _offline(contest, engine) if engine and engine.can_run else None
    with running(contest, contestant) as url:
        for load, prompts in texts.all_loads():
            crowd = measure(url, contest.model.name, load, prompts)
            record(row, load, crowd)
            if load == COMPARED and offline:
                row.add(OFFLINE.key, offline)
                row.add(OF_OFFLINE, crowd.output / offline)


def _offline(contest: Contest, engine: Contestant) -> float:
    with contest.awake(engine) as worker:
        worker.warm_up(contest.prompts.take(OFFLINE.batch, WARM_UP_PROMPT), WARM_UP_TOKENS)
        prompts = contest.prompts.take(OFFLINE.batch, OFFLINE.prompt)
        return offline_rate(worker.ask(prompts, OFFLINE.generate + 1))


def measure(url: str, model: str, load: Load, prompts: list[str]) -> Crowd:
    """Raises `Unavailable` for a server that refuses, breaks off or answers too little."""
    try:
        crowd = ask_all(url, model, prompts, load.generate)
    except (InternalError, OSError, EOFError, ValueError) as error:
        raise Unavailable(f"{load.title}: {error}") from None
    wanted, written = load.generate * load.clients, sum(each.num_tokens for each in crowd.streams)
    if written < MIN_TOKENS_SHARE * wanted:
        raise Unavailable(f"{load.title}: the server wrote {written} of {wanted} tokens")
    return crowd


def record(row: Row, load: Load, crowd: Crowd) -> None:
    row.add(load.key, crowd.output)
    row.add(load.time_key(FIRST), float(np.median(crowd.firsts_s)))
    row.add(load.time_key(FIRST_P95), float(np.percentile(crowd.firsts_s, 95)))
    row.add(load.time_key(GAP_P95), float(np.percentile(crowd.gaps_s, 95)))


@contextmanager
def running(contest: Contest, contestant: HttpContestant) -> Iterator[str]:
    """The address of a server that answers; it is stopped at the end."""
    model, place, row = contest.model, contest.place, contestant.row
    port, log = free_port(), place.log(f"server-{model.name}-{row.name}")
    launch = contestant.server.launch(model, place, port)
    kept = place.kept(f"{model.name}-{contestant.server.engine} {contestant.server.variant}")
    for folder in (log.parent, kept):
        folder.mkdir(parents=True, exist_ok=True)
    variables = {**os.environ, "XDG_CACHE_HOME": str(kept), **launch.environment}
    start = time.perf_counter()
    with log.open("wb") as file:
        process = subprocess.Popen(
            launch.words, stdout=file, stderr=file, env=variables, preexec_fn=os.setpgrp
        )
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(process, url + contestant.server.ready_path, log)
        row.add(READY, time.perf_counter() - start)
        yield url
    finally:
        stop(process)


def wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    end = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise Unavailable(last_line(log))
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(POLL_S)
    raise Unavailable(f"not ready in {READY_TIMEOUT_S:.0f} s")


def stop(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):  # it may have ended by itself
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
