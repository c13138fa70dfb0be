"""Servers that are started with room for exactly one load, with their prefix cache or without it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from benchmarks.comparison.http_rounds import free_port, stop, wait_until_ready
from benchmarks.peers.llama_build import build, llama_tools
from benchmarks.peers.llama_cpp import gguf
from benchmarks.peers.protocol import Model, Place


@dataclass(frozen=True)
class Room:
    """What a server must hold at once."""

    clients: int
    longest: int
    """Tokens of the longest prompt and its answer."""


class SizedServer(Protocol):
    """How to start one, in the foreground, on a port of this machine."""

    name: str
    ready_path: str

    def install(self, model: Model, place: Place) -> None: ...

    def words(self, model: Model, place: Place, room: Room) -> Sequence[str]:
        """The command line, without the port."""
        ...


@dataclass(frozen=True)
class Fairway:
    caches: bool = True
    weights: str = "int4"
    ready_path: str = "/v1/models"

    @property
    def name(self) -> str:
        return f"Fairway {self.weights}" + ("" if self.caches else ", cache off")

    def install(self, model: Model, place: Place) -> None:
        """Nothing: it is what is running."""

    def words(self, model: Model, place: Place, room: Room) -> Sequence[str]:
        program = [sys.executable, "-m", "fairway.cli.main", "serve", f"{model.name}={model.folder}"]
        sizes = ["--context", str(room.longest), "--threads", str(place.threads), "--weights", self.weights]
        return [*program, *sizes, *([] if self.caches else ["--no-enable-prefix-caching"])]


@dataclass(frozen=True)
class LlamaServer:
    """A slot for every client, each with room for the longest; the rest as it comes."""

    caches: bool = True
    weights: str = "Q4_0"
    ready_path: str = "/health"

    @property
    def name(self) -> str:
        return f"llama-server {self.weights}" + ("" if self.caches else ", cache off")

    def install(self, model: Model, place: Place) -> None:
        build(place)
        gguf(model, self.weights, place)

    def words(self, model: Model, place: Place, room: Room) -> Sequence[str]:
        program = [str(llama_tools(place) / "llama-server"), "-m", str(gguf(model, self.weights, place))]
        threads = ["-t", str(place.threads), "-tb", str(place.threads)]
        slots = ["-np", str(room.clients), "-c", str(room.clients * room.longest)]
        return [*program, *threads, *slots, *([] if self.caches else ["--no-cache-prompt"])]


SERVERS: tuple[SizedServer, ...] = (
    Fairway(),
    Fairway(caches=False),
    LlamaServer(),
    LlamaServer(caches=False),
)


@contextmanager
def serving(words: Sequence[str], ready_path: str, place: Place, name: str) -> Iterator[tuple[str, int]]:
    """(address, process id) of a server that answers; it is stopped at the end."""
    port, log = free_port(), place.log(f"workload-{name}")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as file:
        command = [*words, "--port", str(port)]
        process = subprocess.Popen(command, stdout=file, stderr=file, preexec_fn=os.setpgrp)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(process, url + ready_path, log)
        yield url, process.pid
    finally:
        stop(process)
