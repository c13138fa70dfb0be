"""A file that is only read: its size is known before anything else is believed.

Opens regular files and nothing else (a pipe would hang, a device never ends), and maps them
lazily. Knows no format. The rule: a length found inside a file is compared with `size` before use.
"""

from __future__ import annotations

import hashlib
import mmap
import stat
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from fairway.errors import FormatError, ModelNotFound


class Source:
    """One file on disk. Holds no descriptor until `data` is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = regular_size(path)

    @property
    def name(self) -> str:
        return self.path.name

    def read(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes, or a `FormatError` that says how many there were."""
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                data = file.read(size)
        except OSError as error:
            raise unreadable(self.path, error) from error
        if len(data) != size:
            raise FormatError(
                f"{self.path} ends after {self.size} bytes, {offset + size} were expected.",
                hint="Download the file again.",
            )
        return data

    @cached_property
    def data(self) -> mmap.mmap | bytes | memoryview:
        """The whole file, mapped read-only: untouched parts cost nothing."""
        if self.size == 0:
            return b""
        try:
            with self.path.open("rb") as file:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise unreadable(self.path, error) from error

    def open(self) -> BinaryIO:
        """The file to be read piece by piece."""
        return self.path.open("rb")

    def release(self) -> None:
        """Lets go of the pages that were read, which count as this process's memory; views stay valid."""
        data = self.__dict__.get("data")
        if isinstance(data, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            data.madvise(mmap.MADV_DONTNEED)


def file_digest(source: Source) -> str:
    """SHA-256 of the whole file, in hexadecimal: the content of what has no other description."""
    digest = hashlib.sha256()
    with source.open() as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def regular_size(path: Path) -> int:
    """The size of a regular file; anything else is refused by name."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelNotFound(f"There is no file {path}.", hint="Check the spelling of the path.") from error
    except (OSError, ValueError, RuntimeError) as error:
        raise unreadable(path, error) from error
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
        raise FormatError(f"{path} is {kind}, not a file.", hint="Name a regular file.")
    return status.st_size


def unreadable(path: Path, error: Exception) -> FormatError:
    reason = getattr(error, "strerror", None) or str(error)
    return FormatError(f"{path} cannot be read: {reason}.", hint="Check the path and its permissions.")
