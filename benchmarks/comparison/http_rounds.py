"""Servers take turns too: each is started, asked by growing crowds of clients, and stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.comparison.environments import last_line
from benchmarks.comparison.http_clients import Texts, measure
from benchmarks.comparison.http_loads import CROWDS, READY, SHARED, SHARED_WORDS, Load
from benchmarks.comparison.results import Row
from benchmarks.peers.protocol import Model, Place, Unavailable
from benchmarks.peers.servers import Server

READY_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 20.0
POLL_S = 0.05


def serve_round(servers: Sequence[tuple[Server, Row]], model: Model, place: Place, texts: Texts) -> None:
    for server, row in servers:
        if row.reason:
            continue
        try:
            with running(server, model, place, row) as url:
                for load, prompts in workload(texts):
                    record(row, url, model, load, prompts)
        except Unavailable as error:
            row.reason = str(error)


def workload(texts: Texts) -> Iterator[tuple[Load, list[str]]]:
    for load in CROWDS:
        yield load, texts.take(load, "")
    shared = texts.words(SHARED_WORDS)
    for load in SHARED:
        yield load, texts.take(load, shared)


def record(row: Row, url: str, model: Model, load: Load, prompts: list[str]) -> None:
    seen = measure(url, model.name, prompts, load.generate)
    row.add(load.key, seen.tokens_per_s)
    row.add(load.first_key, seen.first_token_median_s)
    row.add(load.p95_key, seen.first_token_p95_s)


@contextmanager
def running(server: Server, model: Model, place: Place, row: Row) -> Iterator[str]:
    """The address of a server that answers; it is stopped at the end."""
    port, log = free_port(), place.log(f"server-{model.name}-{row.name}")
    command = server.command(model, place, port)
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, preexec_fn=os.setpgrp)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(process, url + server.ready_path, log)
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
