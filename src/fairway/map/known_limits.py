"""What this machine can do at most, measured once and remembered under its fingerprint.

Measuring takes three seconds and wants a quiet machine, so `fairway up` never does it: it uses what is
known. The rule: limits belong to one processor, one number of cores and one set of kernels, and to no other.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from fairway.kernels.cores import allowed_cores
from fairway.kernels.extension import native, native_isas
from fairway.kernels.machine_limits import QUICK_PASSES, MachineLimits, measure_limits
from fairway.map.probe import Machine
from fairway.map.speed import Silicon
from fairway.map.state import read_state, state_folder, write_state

NEAR_BYTES = (8 << 20, 32 << 20)
NEAR_TOTAL = 16 << 30
"""Read at each of these sizes, a fifth of a second."""
FILE_NAME = "limits.json"
LISTEN_S = 0.2
LITTLE_NOISE = 0.2
"""Share of the processor that others may take before a measurement says little."""


@dataclass(frozen=True)
class KnownLimits:
    """The limits, when they were measured, and how fast weights of smaller sizes are read."""

    limits: MachineLimits
    near: tuple[tuple[int, float], ...]
    measured: str
    """UTC, as ISO 8601."""
    others: float = 0.0
    """Share of the processor that other programs took just before; a busy machine looks slower than it is."""

    def silicon(self) -> Silicon:
        limits = self.limits
        bf16 = limits.bf16_ops_per_s or limits.f32_ops_per_s
        return Silicon(
            memory_bytes_per_s=limits.memory_bytes_per_s,
            int8_ops_per_s=limits.int8_ops_per_s,
            bf16_ops_per_s=bf16,
            f32_ops_per_s=limits.f32_ops_per_s,
            threads=limits.threads,
            near=self.near,
        )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def fingerprint(machine: Machine) -> str:
    """Of what the limits depend on; a container of half the cores is another machine."""
    facts = (machine.system, machine.arch, machine.processor, machine.num_cores, *sorted(machine.features))
    return hashlib.sha256("\n".join(map(str, facts)).encode()).hexdigest()[:16]


def known_limits(machine: Machine, folder: Path | None = None) -> KnownLimits | None:
    """What was measured before on this very machine; None where nothing was."""
    found = read_state((folder or state_folder()) / FILE_NAME).get(fingerprint(machine), {})
    try:
        near = tuple((size, rate) for size, rate in found["near"])
        return KnownLimits(MachineLimits(**found["limits"]), near, found["measured"], found["others"])
    except (TypeError, KeyError, ValueError):
        return None


def measure_and_keep(machine: Machine, folder: Path | None = None) -> KnownLimits:
    """Raises `UnsupportedError` where no native kernels run."""
    others = taken_by_others()
    limits = measure_limits(passes=QUICK_PASSES)
    known = KnownLimits(limits, _near(), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), others)
    path = (folder or state_folder()) / FILE_NAME
    write_state(path, read_state(path) | {fingerprint(machine): known.to_dict()})
    return known


def taken_by_others() -> float:
    """Share of the processor that is busy while this program waits."""
    return psutil.cpu_percent(interval=LISTEN_S) / 100


def limits_of(machine: Machine, folder: Path | None = None) -> KnownLimits | None:
    """Known, or measured now; None where this machine has no native kernels to measure with."""
    if known := known_limits(machine, folder):
        return known
    return measure_and_keep(machine, folder) if native_isas() else None


def _near() -> tuple[tuple[int, float], ...]:
    team, isa = native.Team(allowed_cores()), native_isas()[0]
    return tuple((size, native.reading_rate(team, isa, size, NEAR_TOTAL // size)) for size in NEAR_BYTES)
