"""The members of a plain tar archive by name, read where they lie: nothing is extracted, nothing followed.

Rule: links, devices, absolute paths, "..", names that come twice and members that end behind the file are
refused before any of them is opened. Compressed archives are refused too: they cannot be mapped.
"""

from __future__ import annotations

import io
import mmap
import tarfile
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from fairway.errors import FormatError, UnsupportedError
from fairway.formats.source import Source

MAX_MEMBERS = 100_000
MAGIC_AT, MAGIC = 257, b"ustar"
HINT = "Do not trust this archive; take the model from its own source."


class MemberSource(Source):
    """A member of an archive as a file of its own."""

    def __init__(self, path: Path, begin: int, size: int) -> None:
        self.path, self.begin, self.size = path, begin, size

    def read(self, offset: int, size: int) -> bytes:
        if offset + size > self.size:
            raise FormatError(f"{self.path} holds a member that ends after {self.size} bytes.", hint=HINT)
        return Source(self.path).read(self.begin + offset, size)

    @cached_property
    def data(self) -> mmap.mmap | bytes | memoryview:
        """The member's part of the mapped file."""
        return memoryview(self._whole.data)[self.begin : self.begin + self.size]

    @cached_property
    def _whole(self) -> Source:
        return Source(self.path)

    def open(self) -> BinaryIO:
        return io.BufferedReader(_Window(self.path, self.begin, self.size))

    def release(self) -> None:
        self._whole.release()


class _Window(io.RawIOBase):
    """A stretch of a file that can be read and sought in."""

    def __init__(self, path: Path, begin: int, size: int) -> None:
        super().__init__()
        self._file = path.open("rb")
        self._begin, self._size, self._at = begin, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        self._file.seek(self._begin + self._at)
        data = self._file.read(max(0, min(len(view), self._size - self._at)))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def tar_members(path: Path) -> dict[str, MemberSource]:
    """Name -> where it lies. Raises `FormatError` or `UnsupportedError`, naming the member."""
    source = Source(path)
    head = source.read(0, min(source.size, 512))
    if head[:2] == b"\x1f\x8b":
        raise UnsupportedError(
            f"{path} is a compressed archive, which cannot be read in place.",
            hint=f"Unpack it first: gunzip -c {path.name} > plain.nemo",
        )
    if head[MAGIC_AT : MAGIC_AT + len(MAGIC)] != MAGIC:
        raise FormatError(f"{path} is not a tar archive.", hint="Download the file again.")
    found: dict[str, MemberSource] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for number, member in enumerate(archive):
                name = _checked(path, member, number, source.size)
                if name in found:
                    raise FormatError(f"{path} holds {name!r} twice.", hint=HINT)
                if member.isfile():
                    found[name] = MemberSource(path, member.offset_data, member.size)
    except (tarfile.TarError, EOFError, ValueError, OSError) as error:
        raise FormatError(f"{path} is a damaged archive: {error}.", hint="Download it again.") from None
    return found


def _checked(path: Path, member: tarfile.TarInfo, number: int, size: int) -> str:
    name = member.name.removeprefix("./")
    shown = repr(member.name[:120])
    if number >= MAX_MEMBERS:
        raise FormatError(f"{path} has more than {MAX_MEMBERS} members.", hint=HINT)
    if not (member.isfile() or member.isdir()):
        raise FormatError(f"{path} holds {shown}, which is a link or a device; it was not opened.", hint=HINT)
    if name.startswith("/") or "\\" in name or "\0" in name or ".." in name.split("/"):
        raise FormatError(f"{path} holds {shown}, which lies outside the archive.", hint=HINT)
    if member.isfile() and (member.issparse() or member.size < 0 or member.offset_data + member.size > size):
        raise FormatError(f"{path} is cut short at {shown}.", hint="Download it again.")
    return name
