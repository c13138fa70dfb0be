"""One broken model: its files, and what opening it must do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

EXTREMES = [
    0,
    1,
    7,
    255,
    1 << 16,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    1 << 40,
    1 << 62,
    (1 << 64) - 1,
]


@dataclass(frozen=True)
class Case:
    name: str
    files: dict[str, bytes]
    expect: str
    entry: str
    """What to open: a file name, or "" for the folder."""
    prepare: Callable[[Path], None] | None = None
    """What bytes cannot say: links, pipes, holes."""
