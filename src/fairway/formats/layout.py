"""Where the parts of a file will lie, known before they are written: so they can be written in any order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


class Sized(Protocol):
    """What a header says of a tensor."""

    @property
    def type(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def num_bytes(self) -> int: ...


@dataclass(frozen=True)
class Layout:
    """A file's beginning, each tensor's offset in the file in the order they lie there, and its size."""

    header: bytes
    offsets: Mapping[str, int]
    size: int
