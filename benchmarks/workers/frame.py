"""What all workers share: a worker loads one engine, says so, and then answers measurements.

Runs inside a peer's own environment, so it imports nothing but the standard library. One JSON object
per line: settings as the only argument, {"ready": ...} once the first token is out, then for each
request on standard input one answer on standard output. Whatever else prints goes to standard error.
A worker that fails ends with a traceback; its last line is the reason that the table shows.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

Prompts = Sequence[Sequence[int]]
TOLD = ("weight_bytes", "kv_bytes", "load_s", "warms_up")
"""What an engine may tell beside its version."""


@dataclass(frozen=True)
class Settings:
    """What a worker is told at its start."""

    model: str
    variant: str
    threads: int
    sequences: int
    """Most prompts at once."""
    length: int
    """Longest prompt and answer together, in tokens."""
    cache_tokens: int
    """Room that the key-value cache must have for all sequences of the largest batch."""
    kept: str = ""
    """Folder for what an engine keeps between two starts."""
    tools: str = ""
    """Folder of built programs, where the peer is one."""


@dataclass(frozen=True)
class Times:
    """One batch that arrived at once."""

    first_s: float
    """Until every prompt had its first token."""
    after_first_s: float
    num_after_first: int


class Engine(Protocol):
    """A loaded engine. `run` reads `prompts`, writes exactly `num_tokens` for each, caches no prefix."""

    version: str

    def run(self, prompts: Prompts, num_tokens: int) -> Times: ...


class Watch:
    """Times of a batch from what each step of an engine gave to whom."""

    def __init__(self, ids: Iterable[Any]) -> None:
        self.without_token = set(ids)
        self.num_after_first = 0
        self.start = self.first = time.perf_counter()

    def saw(self, num_new: dict[Any, int]) -> None:
        """After each step: new tokens by request."""
        if self.without_token:
            self.without_token -= {key for key, count in num_new.items() if count}
            self.first = time.perf_counter()
        else:
            self.num_after_first += sum(num_new.values())

    def times(self) -> Times:
        return Times(self.first - self.start, time.perf_counter() - self.first, self.num_after_first)


def times_of_stamps(start: float, stamps: Sequence[float], batch: int) -> Times:
    """For engines that give every prompt its token at the same moment: `stamps` are these moments."""
    return Times(stamps[0] - start, stamps[-1] - stamps[0], batch * (len(stamps) - 1))


def serve(load: Callable[[Settings], Engine]) -> None:
    """The whole life of a worker."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    engine = load(Settings(**json.loads(sys.argv[1])))
    engine.run([[1, 2, 3, 4]], 1)
    print(json.dumps({"ready": engine.version, **vars_of(engine)}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        times = engine.run(request["prompts"], request["generate"])
        print(json.dumps(asdict(times) | {"peak_bytes": peak_bytes()}), file=answers, flush=True)


def vars_of(engine: Engine) -> dict[str, Any]:
    """What else an engine may tell about itself."""
    return {name: getattr(engine, name) for name in TOLD if hasattr(engine, name)}


def peak_bytes() -> int:
    """Most memory that was ever resident, of this process or the largest that it started."""
    return 1024 * max(own_peak_kib(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)


def own_peak_kib() -> int:
    """VmHWM of proc(5); getrusage would count what the process was a copy of when it began."""
    lines = Path("/proc/self/status").read_text("ascii", "replace").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])


def size_of(folder: str, *patterns: str) -> int:
    """Bytes of a model's weight files."""
    return sum(file.stat().st_size for pattern in patterns for file in Path(folder).glob(pattern))
