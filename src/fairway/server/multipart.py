"""multipart/form-data as it arrives (RFC 7578): parts and their bytes, never more than a piece of them.

Pure: bytes in, events out. The rule: whatever the bytes, memory stays below two pieces and a header.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from fairway.errors import RequestError

MAX_HEADER_BYTES = 8 << 10
MAX_PREAMBLE_BYTES = 4 << 10
BOUNDARY = re.compile(r"""boundary=(?:"([^"]{1,70})"|([^\s";,]{1,70}))""", re.IGNORECASE)
PARAMETER = re.compile(r""";\s*([\w*-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s";]+))""")


@dataclass(frozen=True)
class Part:
    """A part begins: a field, or with `filename` a file."""

    name: str
    filename: str | None


Event: TypeAlias = Part | bytes
State: TypeAlias = Literal["preamble", "delimiter", "header", "content", "end"]


def boundary_of(content_type: str) -> bytes:
    """Raises `RequestError` where the header names none."""
    found = BOUNDARY.search(content_type)
    if found is None:
        raise _broken("its Content-Type names no boundary")
    return (found[1] or found[2]).encode("utf-8")


class MultipartParser:
    """One body. Feed it, then `finish`."""

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._rest = bytearray(b"\r\n")  # the first delimiter has no line before it
        self._state: State = "preamble"
        self._num_skipped = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """A `Part`, then its bytes, then the next part. Raises `RequestError` for what is no form."""
        self._rest += data
        moved = True
        while moved:
            moved = False
            for event in self._step():
                moved = True
                if event is not None:
                    yield event

    def finish(self) -> None:
        """Raises `RequestError` where the form ends in the middle."""
        if self._state != "end":
            raise _broken("it ends before its last boundary")

    def _step(self) -> Iterator[Event | None]:
        """Yields whatever one state can take from the bytes; nothing where it needs more."""
        if self._state in ("preamble", "content"):
            yield from self._until_delimiter()
        elif self._state == "delimiter":
            yield from self._after_delimiter()
        elif self._state == "header":
            yield from self._header()
        else:
            self._rest.clear()

    def _until_delimiter(self) -> Iterator[Event | None]:
        at = self._rest.find(self._delimiter)
        end = at if at >= 0 else max(0, len(self._rest) - len(self._delimiter) + 1)
        before = bytes(self._rest[:end])
        del self._rest[: end + (len(self._delimiter) if at >= 0 else 0)]
        if self._state == "preamble":
            self._num_skipped += len(before)
            if self._num_skipped > MAX_PREAMBLE_BYTES:
                raise _broken("its boundary does not come")
        elif before:
            yield before
        if at >= 0:
            self._state = "delimiter"
            yield None

    def _after_delimiter(self) -> Iterator[None]:
        if self._rest.startswith(b"--"):
            self._state = "end"
            yield None
            return
        end = self._rest.find(b"\r\n")
        if end < 0 and len(self._rest) < MAX_HEADER_BYTES:
            return
        if end < 0 or self._rest[:end].strip():
            raise _broken("a boundary is followed by something else")
        del self._rest[:end]  # the line's end stays: a part without headers has an empty line next
        self._state = "header"
        yield None

    def _header(self) -> Iterator[Part]:
        end = self._rest.find(b"\r\n\r\n")
        if end < 0 and len(self._rest) <= MAX_HEADER_BYTES:
            return
        if not 0 <= end <= MAX_HEADER_BYTES:
            raise _broken("the header of a part is too long")
        lines = bytes(self._rest[:end]).split(b"\r\n")
        del self._rest[: end + 4]
        self._state = "content"
        yield _part(lines)


def _part(lines: list[bytes]) -> Part:
    for line in lines:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-disposition":
            return _named(value)
    raise _broken("a part has no Content-Disposition")


def _named(value: bytes) -> Part:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        raise _broken("the name of a part is not UTF-8") from None
    if text.partition(";")[0].strip().lower() != "form-data":
        raise _broken("a part is not form-data")
    found = {
        key.lower(): re.sub(r"\\(.)", r"\1", quoted) or plain
        for key, quoted, plain in PARAMETER.findall(text)
    }
    if not found.get("name"):
        raise _broken("a part has no name")
    return Part(found["name"], found.get("filename"))


def _broken(why: str) -> RequestError:
    return RequestError(f"The body is not a valid multipart form: {why}.")
