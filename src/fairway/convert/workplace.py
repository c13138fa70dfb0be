"""Where a conversion lies until it is whole: a hidden folder beside the target.

    .NAME.partial/lock            held while a process works here; dies with it
    .NAME.partial/plan.json       which conversion this is; another one starts over
    .NAME.partial/journal.jsonl   a line for each tensor that is written and checked
    .NAME.partial/content/...     the files as they will be

The rules: a line is added only after its tensor was read back; the target's name appears by one
rename at the very end.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import IO

from fairway import __version__
from fairway.convert.check import Checked
from fairway.convert.job import Conversion, OutputFile
from fairway.errors import Busy
from fairway.formats.digest import json_digest
from fairway.models.source_digest import Fingerprint


class Workplace:
    """One conversion's folder, for the process that holds its lock."""

    def __init__(self, conversion: Conversion) -> None:
        target = conversion.target
        self.folder = target.parent / f".{target.name}.partial"
        self.content = self.folder / "content"
        self.output = self.content if conversion.is_folder else self.content / target.name
        """What will get the target's name."""
        self._conversion = conversion
        self._journal = self.folder / "journal.jsonl"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Raises `Busy` if another process is converting to the same target."""
        self.folder.mkdir(exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise Busy(
                    f"Another process is writing {self._conversion.target}.", hint="Wait for it to end."
                ) from None
            yield

    def begin(self) -> list[Checked]:
        """Makes the files, or finds those of a run that was cut off; gives the tensors it had checked."""
        identity = identity_of(self._conversion)
        if self._stated_plan() != identity or not self._is_all_there():
            self._start_over(identity)
            return []
        return list(self._entries())

    def _is_all_there(self) -> bool:
        """A run that was killed at its end may have removed what is not published."""
        names = (*self._conversion.sidecars, *(file.name for file in self._conversion.files))
        return all((self.content / name).is_file() for name in names)

    def _stated_plan(self) -> str | None:
        try:
            return (self.folder / "plan.json").read_text("utf-8")
        except OSError:
            return None

    def _start_over(self, identity: str) -> None:
        (self.folder / "plan.json").unlink(missing_ok=True)
        self._journal.unlink(missing_ok=True)
        shutil.rmtree(self.content, ignore_errors=True)
        self.content.mkdir()
        for name, data in self._conversion.sidecars.items():
            (self.content / name).parent.mkdir(parents=True, exist_ok=True)
            (self.content / name).write_bytes(data)
        for file in self._conversion.files:
            with (self.content / file.name).open("wb") as out:
                out.write(file.layout.header)
                _reserve(out, file.layout.size)
                for name, data in file.constants.items():
                    out.seek(file.layout.offsets[name])
                    out.write(data)
        (self.folder / "plan.json").write_text(identity, "utf-8")

    def _entries(self) -> Iterator[Checked]:
        """The journal's whole lines; a process that was killed may leave half a one."""
        if not self._journal.exists():
            return
        for line in self._journal.read_bytes().split(b"\n")[:-1]:
            yield Checked.from_dict(json.loads(line))

    def note(self, checked: Checked) -> None:
        """Adds a line, at once."""
        with self._journal.open("ab") as file:
            file.write(json.dumps(checked.to_dict()).encode() + b"\n")

    def open(self, file: OutputFile) -> int:
        """A descriptor to write at any place of a file."""
        return os.open(self.content / file.name, os.O_RDWR)

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def written_bytes(self) -> int:
        """What a run that was cut off occupies already."""
        if not self.content.is_dir():
            return 0
        return sum(path.stat().st_blocks * 512 for path in self.content.rglob("*") if path.is_file())


def identity_of(conversion: Conversion) -> str:
    """The same source files, settings, layout and program: only then may a run be continued."""
    files = {
        file.name: [json_digest(file.layout.header.hex()), file.layout.size] for file in conversion.files
    }
    prints = [asdict(Fingerprint.of(source.path)) for source in conversion.source.sources]
    return json.dumps(
        {
            "fairway": __version__,
            "hop": conversion.hop,
            "settings": dict(conversion.settings),
            "files": files,
            "sidecars": json_digest({name: data.hex() for name, data in conversion.sidecars.items()}),
            "sources": prints,
        },
        sort_keys=True,
    )


def _reserve(out: IO[bytes], size: int) -> None:
    """Takes the space now, so that a full disk is met before the work; at least sets the size."""
    out.truncate(size)
    if hasattr(os, "posix_fallocate") and size:
        try:
            os.posix_fallocate(out.fileno(), 0, size)
        except OSError as error:
            if error.errno not in (95, 22):  # EOPNOTSUPP, EINVAL: a file system that cannot
                raise
