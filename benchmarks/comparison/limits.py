"""The machine's own limits, by a small C++ program that is compiled for it: memory reads and int8."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.comparison.environments import run
from benchmarks.comparison.results import Limits
from benchmarks.peers.protocol import Place

SOURCE = Path(__file__).with_name("limits.cpp")
FLAGS = ("-O3", "-march=native", "-std=c++17", "-pthread")


@dataclass
class LimitsMeter:
    """Collects one pair of values per round."""

    program: Path
    threads: int
    memory: list[float] = field(default_factory=list)
    int8: list[float] = field(default_factory=list)

    def measure(self) -> None:
        done = subprocess.run(
            [str(self.program), str(self.threads)], capture_output=True, text=True, check=True
        )
        found = json.loads(done.stdout)
        self.memory.append(found["memory_bytes_per_s"])
        self.int8.append(found["int8_ops_per_s"])

    def limits(self) -> Limits | None:
        return Limits(self.memory, self.int8) if self.memory else None


def limits_meter(place: Place) -> LimitsMeter:
    """Compiles it the first time, and again when its source has changed."""
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:8]
    program = place.cache / f"limits-{digest}"
    if not program.exists():
        run(["c++", *FLAGS, str(SOURCE), "-o", str(program)], place.log("limits"))
    return LimitsMeter(program, place.threads)
