"""How much of the machine others are using, sampled before each turn while nothing of ours runs.

A measurement beside a compiler is a measurement of the compiler too. Engines whose threads meet at a
barrier suffer most, so a busy machine bends even ratios; the table shows this share for every engine.
"""

from __future__ import annotations

import time
from pathlib import Path

STAT = Path("/proc/stat")
SAMPLE_S = 0.3
IDLE_FIELDS = (3, 4)
"""Of the first line of /proc/stat: idle, and waiting for a disk (proc(5))."""


def busy_share() -> float | None:
    """Of all cores, over `SAMPLE_S`; None where the system does not tell."""
    try:
        before = STAT.read_text("ascii")
        time.sleep(SAMPLE_S)
        return share_between(before, STAT.read_text("ascii"))
    except OSError:
        return None


def share_between(before: str, after: str) -> float:
    """Two readings of /proc/stat; 0 where no time has passed."""
    first, second = _ticks(before), _ticks(after)
    spent = [b - a for a, b in zip(first, second, strict=True)]
    total = sum(spent)
    return 1 - sum(spent[index] for index in IDLE_FIELDS) / total if total else 0.0


def _ticks(stat: str) -> list[int]:
    """The first eight fields; the guests' that follow are counted in them already."""
    return [int(field) for field in stat.splitlines()[0].split()[1:9]]
