"""Where every line of a file begins, so that any line can be read without the others.

The file is scanned once in blocks: memory is 24 bytes a line whatever the lines' length, and a line that is
too long costs nothing until it is asked for. Lines keep their numbers; empty ones are no rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fairway.registry.progress import Progress
from fairway.tune.rows import RowError

MAX_LINE_BYTES = 16 << 20
"""One row. A whole book has a megabyte."""
BLOCK_BYTES = 4 << 20
Places: TypeAlias = npt.NDArray[np.int64]
NEWLINE = 10


class LineIndex:
    """The lines of a UTF-8 file that are not empty, from byte `start` on."""

    def __init__(self, path: Path, start: int = 0, progress: Progress | None = None) -> None:
        self.path = path
        ends = _line_ends(path, start, progress)
        starts = np.concatenate([[start], ends[:-1] + 1]) if ends.size else ends
        kept = np.flatnonzero((ends > starts) & ~_returns(path, starts, ends))
        self.numbers: Places = kept + 1
        """Of each line, from 1."""
        self._starts, self._lengths = starts[kept], (ends - starts)[kept]

    def __len__(self) -> int:
        return len(self._starts)

    def raw(self, index: int) -> bytes:
        """One line without its end. Raises `RowError` for one that is longer than `MAX_LINE_BYTES`."""
        length = int(self._lengths[index])
        if length > MAX_LINE_BYTES:
            raise RowError(
                "line-length",
                f"the line has {length:,} bytes; at most {MAX_LINE_BYTES:,} are read.",
                hint="Is a line break missing? A row is one line.",
            )
        with self.path.open("rb") as file:
            file.seek(int(self._starts[index]))
            return file.read(length).removesuffix(b"\r")

    def text(self, index: int) -> str:
        """The same, decoded. Raises `RowError` where it is not UTF-8."""
        return decoded(self.raw(index))


def decoded(raw: bytes) -> str:
    """UTF-8 as text; the error says which byte is none and what the file may be instead."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        near = raw[max(0, error.start - 12) : error.start + 12].decode("cp1252", "replace")
        raise RowError(
            "encoding",
            f"byte {error.start + 1} of the line (0x{raw[error.start]:02X}, near {near!r}) is not UTF-8.",
            hint="If the file is Latin-1 or Windows-1252: iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW.",
        ) from None


def _returns(path: Path, starts: Places, ends: Places) -> npt.NDArray[np.bool_]:
    """Which lines hold a carriage return alone: the empty ones of a file from Windows."""
    found: npt.NDArray[np.bool_] = ends - starts == 1
    with path.open("rb") as file:
        for index in np.flatnonzero(found):
            file.seek(int(starts[index]))
            found[index] = file.read(1) == b"\r"
    return found


def _line_ends(path: Path, start: int, progress: Progress | None) -> Places:
    """The byte after each line's last one, the newline or the end of the file."""
    found: list[Places] = []
    size = path.stat().st_size
    block = bytearray(BLOCK_BYTES)
    at = last = start
    with path.open("rb") as file:
        file.seek(start)
        while count := file.readinto(block):
            if block.find(NEWLINE, 0, count) >= 0:
                ends = np.flatnonzero(np.frombuffer(block, np.uint8, count) == NEWLINE) + at
                found.append(ends)
                last = int(ends[-1]) + 1
            at += count
            if progress is not None:
                progress(at, size, "")
    if at > last:
        found.append(np.array([at], np.int64))
    return np.concatenate(found) if found else np.empty(0, np.int64)
