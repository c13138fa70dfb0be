"""The folder of packed weights: one file for each content, weight type and layout, shared by processes.

    KEY.packed    finished weights; its time of writing is when it was last used
    KEY.part      weights being packed by the process that holds its lock
    digests.json  what is known of checkpoints, see source_digest.py

The rules: a name that ends in .packed is never half a file; a lock dies with its process, so what a
killed one leaves is only a .part without owner, which the next start removes; and whatever goes wrong
here is told in one line and costs time, never the answer.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fairway import __version__
from fairway.errors import FormatError
from fairway.models.packed_file import PackedFile, PackedWriter, read_table
from fairway.models.packed_weights import Wanted
from fairway.models.source_digest import Fingerprint, KnownDigests, digest_of

PACKED, PART = ".packed", ".part"
SMALLEST_BYTES = 32 << 20
"""Checkpoints below this are packed as fast as they are read."""
WAIT_S = 300.0
POLL_S = 0.05


class SourceChanged(OSError):
    """A file was written while it was being packed."""


@dataclass(frozen=True)
class PackedCache:
    """Finds packed weights or has them made. Of use to the native backend only."""

    folder: Path
    max_bytes: int
    note: Callable[[str], None] = logging.getLogger("fairway").warning
    """Called with one line that the user should read."""
    smallest_bytes: int = SMALLEST_BYTES
    wait_s: float = WAIT_S
    """How long another process may take to pack the same model."""

    def open(self, wanted: Wanted, build: Callable[[PackedWriter], object]) -> PackedFile | None:
        """The packed weights, which `build` writes if they are not here; None if they cannot be kept.

        Errors of `build` pass through, except those of writing.
        """
        if not wanted.sources or wanted.num_bytes < self.smallest_bytes:
            return None
        try:
            return self._open(wanted, build)
        except OSError as error:
            reason = error.strerror or str(error)
            self.note(
                f"The packed weights cannot be kept in {self.folder}: {reason}. They are in memory only."
            )
            return None

    def _open(self, wanted: Wanted, build: Callable[[PackedWriter], object]) -> PackedFile:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._remove_abandoned()
        prints = [Fingerprint.of(source.path) for source in wanted.sources]
        known = KnownDigests(self.folder / "digests.json")
        found = self._find(wanted, known.of_all(prints))
        if found is not None:
            return found
        turn = wanted.key(json.dumps([asdict(each) for each in prints]))
        with self._turn(self.folder / (turn + PART)) as part:
            found = self._find(wanted, known.of_all(prints))  # made by another process meanwhile
            return found or self._make(wanted, prints, known, build, part)

    def _find(self, wanted: Wanted, content: str | None) -> PackedFile | None:
        path = self.folder / (wanted.key(content or "") + PACKED)
        if content is None or not path.exists():
            return None
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            file = PackedFile(descriptor)
            os.utime(path)
        except FormatError as error:
            self.note(f"{error.message} {path.name} was removed and is made again.")
            path.unlink(missing_ok=True)
            return None
        finally:
            os.close(descriptor)
        return file

    def _make(
        self,
        wanted: Wanted,
        prints: Sequence[Fingerprint],
        known: KnownDigests,
        build: Callable[[PackedWriter], object],
        part: Part,
    ) -> PackedFile:
        """Packs and hashes side by side: both read everything, and it is read from the disk once."""
        thread = ThreadPoolExecutor(1)
        try:
            hashing = thread.submit(digest_of, prints, known)
            writer = PackedWriter(part.descriptor)
            build(writer)
            content = hashing.result()
        finally:
            thread.shutdown(wait=False)  # after an error the model loads while the digest is finished
        if [Fingerprint.of(source.path) for source in wanted.sources] != list(prints):
            raise SourceChanged(0, "the model was changed while it was read")
        writer.finish(_about(wanted, content))
        path = self.folder / (wanted.key(content) + PACKED)
        part.path.replace(path)
        self.evict(keep=path)
        return PackedFile(part.descriptor)

    @contextmanager
    def _turn(self, path: Path) -> Iterator[Part]:
        """An empty file that is ours alone; waits for whoever is making it, and removes what is left."""
        part = _lock(path)
        if part is None:
            self.note("Another process is packing this model: waiting for it.")
        end = time.monotonic() + self.wait_s
        while part is None:
            if time.monotonic() > end:
                raise TimeoutError(0, f"another process has been packing it for {self.wait_s:.0f} s")
            time.sleep(POLL_S)
            part = _lock(path)
        try:
            os.ftruncate(part.descriptor, 0)
            yield part
        finally:
            if part.is_named:
                part.path.unlink()
            os.close(part.descriptor)

    def _remove_abandoned(self) -> None:
        for path in self.folder.glob(f"*{PART}"):
            part = _lock(path, create=False)
            if part is not None:
                part.path.unlink()
                os.close(part.descriptor)

    def entries(self) -> list[Entry]:
        """What is kept, the last used first."""
        found = [_entry(path) for path in self.folder.glob(f"*{PACKED}")]
        return sorted((entry for entry in found if entry), key=lambda entry: -entry.used_s)

    def evict(self, keep: Path | None = None) -> None:
        """Removes the least recently used until the rest fits `max_bytes`; `keep` stays."""
        total = 0
        for entry in self.entries():
            total += entry.num_bytes
            if total > self.max_bytes and entry.path != keep:
                entry.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Part:
    """A file that this process has locked."""

    path: Path
    descriptor: int

    @property
    def is_named(self) -> bool:
        """False once it was renamed or removed."""
        try:
            return os.fstat(self.descriptor).st_ino == self.path.stat().st_ino
        except FileNotFoundError:
            return False


@dataclass(frozen=True)
class Entry:
    """One file of the cache, as a listing shows it. `about` is empty where the file is damaged."""

    path: Path
    num_bytes: int
    used_s: float
    """Seconds since the epoch."""
    about: dict[str, Any]


def _lock(path: Path, *, create: bool = True) -> Part | None:
    """The file, if nobody else has it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o600)
    except FileNotFoundError:
        return None
    part = Part(path, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if part.is_named:  # else its last owner renamed or removed it before it let go
            return part
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None


def _entry(path: Path) -> Entry | None:
    """None if it has just been removed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        stat = os.fstat(descriptor)
        about = read_table(descriptor)["about"]
    except FormatError:
        about = {}
    finally:
        os.close(descriptor)
    return Entry(path, stat.st_size, stat.st_mtime, about)


def _about(wanted: Wanted, content: str) -> dict[str, Any]:
    return {
        "model": wanted.model,
        "path": str(wanted.sources[0].path.resolve()),
        "weights": wanted.weight_type,
        "source_bytes": wanted.num_bytes,
        "source_digest": content,
        "version": __version__,
    }
