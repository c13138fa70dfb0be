"""A worker of a peer as a process: start, ask, pause, continue, stop.

Paused by SIGSTOP with everything it started, so an engine that waits for its next turn takes nothing
from the one being measured. A worker that dies or does not answer in time is `Unavailable`, with
what it said last.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.comparison.environments import last_line
from benchmarks.peers.protocol import Command, Unavailable

WORKERS = Path(__file__).parents[1] / "workers"
READ_BYTES = 1 << 16
TIMEOUT_S = 600.0


class WorkerProcess:
    """Starts at once, its files in the page cache; `load_s` is the time until its first token."""

    def __init__(self, command: Command, settings: dict[str, Any], log: Path, kept: Path) -> None:
        self._log = log
        self._text = b""
        log.parent.mkdir(parents=True, exist_ok=True)
        kept.mkdir(parents=True, exist_ok=True)
        told = settings | {"model": str(command.model), "tools": command.tools, "kept": str(kept)}
        read_all(command.model)
        read_all(kept)
        start = time.perf_counter()
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [str(command.python), str(WORKERS / command.script), json.dumps(told)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                env={**os.environ, "XDG_CACHE_HOME": str(kept), **command.environment},
                preexec_fn=os.setpgrp,
            )
        try:
            ready = self._answer()
        except Unavailable:
            self.stop()
            raise
        self.load_s = ready.get("load_s", time.perf_counter() - start)
        self.version = str(ready["ready"])
        self.weight_bytes: int | None = ready.get("weight_bytes")
        self.kv_bytes: int | None = ready.get("kv_bytes")
        self._warms_up: bool = ready.get("warms_up", True)
        self.peak_bytes = 0

    def warm_up(self, prompts: list[list[int]], generate: int) -> None:
        """For engines that are slower the first time; not for those that start anew for each batch."""
        if self._warms_up:
            self.ask(prompts, generate)

    def ask(self, prompts: list[list[int]], generate: int) -> dict[str, float]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"prompts": prompts, "generate": generate}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Unavailable(last_line(self._log)) from None
        times = self._answer()
        self.peak_bytes = max(self.peak_bytes, times.pop("peak_bytes"))
        return times

    def pause(self) -> None:
        os.killpg(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.killpg(self._process.pid, signal.SIGCONT)

    def stop(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):
                pipe.close()  # type: ignore[union-attr]

    def _answer(self) -> dict[str, Any]:
        """The next line, before the time is over."""
        assert self._process.stdout is not None
        end = time.monotonic() + TIMEOUT_S
        while b"\n" not in self._text:
            readable, _, _ = select.select([self._process.stdout], [], [], max(0, end - time.monotonic()))
            if not readable:
                raise Unavailable(f"no answer in {TIMEOUT_S:.0f} s")
            piece = os.read(self._process.stdout.fileno(), READ_BYTES)
            if not piece:
                raise Unavailable(last_line(self._log))
            self._text += piece
        line, _, self._text = self._text.partition(b"\n")
        return dict(json.loads(line))


def read_all(path: Path) -> None:
    """Brings the files of a model into the page cache, so that no start waits for the disk."""
    for file in _files(path):
        with file.open("rb", buffering=0) as data:
            while data.read(1 << 24):
                pass


def _files(path: Path) -> Iterator[Path]:
    yield from (each for each in ([path] if path.is_file() else sorted(path.rglob("*"))) if each.is_file())
