"""What is in a checkpoint's files, as one digest, and which files' digests are known already.

Hashing gigabytes takes time, so a digest is remembered beside what the file system says of the
file. The rule: a file that differs in size, inode, time of writing or time of change is hashed again, and
one written so recently that its time may not tell two versions apart is not remembered at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from fairway.formats.atomic import atomic_file

PIECE_BYTES = 4 << 20
SETTLED_S = 2.0
"""Older than this, a file's times are taken at their word; file systems count as coarsely as this."""
MAX_REMEMBERED = 1000


@dataclass(frozen=True)
class Fingerprint:
    """One version of a file, as far as the file system can tell."""

    path: str
    size: int
    inode: int
    device: int
    written_ns: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> Fingerprint:
        path = path.resolve()
        stat = path.stat()
        return cls(str(path), stat.st_size, stat.st_ino, stat.st_dev, stat.st_mtime_ns, stat.st_ctime_ns)

    @property
    def is_settled(self) -> bool:
        newest = max(self.written_ns, self.changed_ns)
        return time.time_ns() - newest > SETTLED_S * 1e9


def digest_of(prints: Sequence[Fingerprint], known: KnownDigests) -> str:
    """SHA-256 over the files' own digests, in order; reads those that are not known."""
    digests = [known.find(each) or file_digest(Path(each.path)) for each in prints]
    known.remember(prints, digests)
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 over the SHA-256 of each piece, so that all cores can hash one file."""
    with path.open("rb") as file, ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        descriptor = file.fileno()

        def piece(offset: int) -> bytes:
            return hashlib.sha256(os.pread(descriptor, PIECE_BYTES, offset)).digest()

        offsets = range(0, os.fstat(descriptor).st_size, PIECE_BYTES)
        return hashlib.sha256(b"".join(threads.map(piece, offsets))).hexdigest()


class KnownDigests:
    """The digests of files that were hashed before, in a small JSON file. A damaged one is empty."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def find(self, wanted: Fingerprint) -> str | None:
        for known, digest in self._read():
            if known == asdict(wanted):
                return digest
        return None

    def of_all(self, prints: Sequence[Fingerprint]) -> str | None:
        """The digest of these files together, if every one is known."""
        digests = [self.find(each) for each in prints]
        return None if None in digests else digest_of(prints, self)

    def remember(self, prints: Sequence[Fingerprint], digests: Sequence[str]) -> None:
        entries = [
            (asdict(each), digest)
            for each, digest in zip(prints, digests, strict=True)
            if each.is_settled and self.find(each) is None
        ]
        if not entries:
            return
        paths = {entry["path"] for entry, _ in entries}
        kept = [(known, digest) for known, digest in self._read() if known.get("path") not in paths]
        with atomic_file(self._path) as file:
            file.write(json.dumps([*kept, *entries][-MAX_REMEMBERED:], indent=0).encode())

    def _read(self) -> Iterator[tuple[dict[str, object], str]]:
        try:
            entries = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return
        for entry in entries if isinstance(entries, list) else []:
            if isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], dict):
                yield entry[0], str(entry[1])
