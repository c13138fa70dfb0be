"""Uploaded files on disk: a folder per file, there whole or not at all.

    FOLDER/file-ID/about.json     name, purpose, size, times
    FOLDER/file-ID/data/NAME      the bytes, under a name like the client's

The rule: what a client sends decides no path, and a file appears by one rename after its bytes are on disk.
Safe from any thread and any process.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from fairway.errors import FairwayError
from fairway.formats.json_text import read_object
from fairway.tune.jobs.errors import FileMissing, FilesFull, FileTooLarge
from fairway.tune.jobs.names import is_id, new_id, safe_name

ABOUT, DATA = "about.json", "data"
UNFINISHED = ".upload-"
UNFINISHED_S = 86_400
"""After so long an upload belongs to a server that was killed."""


@dataclass(frozen=True)
class StoredFile:
    """One file."""

    id: str
    filename: str
    """As the client called it."""
    purpose: str
    num_bytes: int
    created_s: int
    expires_s: int | None = None


@dataclass(frozen=True)
class Kind:
    """What a client says of a file."""

    filename: str
    purpose: str
    lasts_s: int | None = None
    """Seconds after which it is gone; None: never."""


class Upload:
    """A file that is being written. `write` raises `FileTooLarge` and `FilesFull`."""

    def __init__(self, path: Path, max_bytes: int, room_bytes: int) -> None:
        self.path = path
        self.num_bytes = 0
        self._max_bytes, self._room_bytes = max_bytes, room_bytes
        self._file = path.open("xb")

    def write(self, piece: bytes) -> None:
        self.num_bytes += len(piece)
        if self.num_bytes > self._max_bytes:
            raise FileTooLarge(
                f"The file is larger than {self._max_bytes:,} bytes.",
                hint="Raise max_upload_bytes, or send less.",
                param="file",
            )
        if self.num_bytes > self._room_bytes:
            raise FilesFull(
                f"Uploaded files may take {self._room_bytes:,} bytes more, and this one is larger.",
                hint="Delete files, or raise max_files_bytes.",
                param="file",
            )
        self._file.write(piece)

    @property
    def staged(self) -> Path:
        """The folder that becomes the file's."""
        return self.path.parent.parent

    def close(self) -> None:
        """The bytes are on disk."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def discard(self) -> None:
        """Nothing is left of it, unless it was kept."""
        self._file.close()
        shutil.rmtree(self.staged, ignore_errors=True)


class FileStore:
    """The files of one folder, which is made when the first one comes."""

    def __init__(self, folder: Path, *, max_file_bytes: int, max_total_bytes: int) -> None:
        self.folder = folder
        self._max_file_bytes, self._max_total_bytes = max_file_bytes, max_total_bytes

    def begin(self, filename: str) -> Upload:
        """An upload, which `keep` makes a file. Whoever begins one discards it in the end."""
        room = max(0, self._max_total_bytes - sum(each.num_bytes for each in self.all()))
        return Upload(self._staged(filename), self._max_file_bytes, room)

    def keep(self, upload: Upload, kind: Kind) -> StoredFile:
        """The upload as a file that others can see."""
        upload.close()
        now = int(time.time())
        expires = None if kind.lasts_s is None else now + kind.lasts_s
        made = StoredFile(new_id("file"), kind.filename, kind.purpose, upload.num_bytes, now, expires)
        (upload.staged / ABOUT).write_text(json.dumps(asdict(made)), "utf-8")
        upload.staged.rename(self.folder / made.id)
        return made

    def add(self, content: bytes, kind: Kind) -> StoredFile:
        """A file that the server itself makes, whatever room there is."""
        upload = Upload(self._staged(kind.filename), len(content), len(content))
        upload.write(content)
        return self.keep(upload, kind)

    def all(self) -> list[StoredFile]:
        """Newest first."""
        names = [each.name for each in self.folder.iterdir()] if self.folder.is_dir() else []
        found = [file for name in names if is_id(name) and (file := self._read(name)) is not None]
        return sorted(found, key=lambda each: (each.created_s, each.id), reverse=True)

    def find(self, file_id: str) -> StoredFile:
        """Raises `FileMissing`."""
        found = self._read(file_id) if is_id(file_id) else None
        if found is None:
            raise FileMissing(f"There is no file {file_id[:80]!r} here.", param="file_id")
        return found

    def path(self, file_id: str) -> Path:
        """Where its bytes lie. Raises `FileMissing`."""
        self.find(file_id)
        return next((self.folder / file_id / DATA).iterdir())

    def delete(self, file_id: str) -> None:
        """Raises `FileMissing`. A job that was created from it keeps what it needs."""
        self.find(file_id)
        self._remove(file_id)

    def _staged(self, filename: str) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._forget_unfinished()
        staged = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=self.folder))
        (staged / DATA).mkdir()
        return staged / DATA / safe_name(filename)

    def _read(self, name: str) -> StoredFile | None:
        """None where it is gone, expired or broken."""
        path = self.folder / name / ABOUT
        try:
            found = StoredFile(**read_object(path))
        except (OSError, FairwayError, TypeError):
            return None
        if found.expires_s is not None and found.expires_s <= time.time():
            self._remove(name)
            return None
        return found

    def _remove(self, name: str) -> None:
        """By a rename first, so that nobody meets half of it."""
        gone = self.folder / f"{UNFINISHED}{new_id('gone')}"
        try:
            (self.folder / name).rename(gone)
        except FileNotFoundError:
            return
        shutil.rmtree(gone, ignore_errors=True)

    def _forget_unfinished(self) -> None:
        for path in self.folder.glob(f"{UNFINISHED}*"):
            try:
                is_old = time.time() - path.stat().st_mtime > UNFINISHED_S
            except FileNotFoundError:
                continue
            if is_old:
                shutil.rmtree(path, ignore_errors=True)
