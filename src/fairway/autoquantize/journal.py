"""Measurements that were made, a line each: a run that was cut off goes on, and a second goal is quick.

A file belongs to one model, text and program; its name is made of them. The rule: what cannot be read or
written costs time, never the answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fairway import __version__
from fairway.formats.bundle import Bundle
from fairway.formats.digest import json_digest
from fairway.models.source_digest import Fingerprint


class Journal:
    """What is known, by a key; `folder` None keeps nothing."""

    def __init__(self, folder: Path | None, identity: Mapping[str, Any]) -> None:
        self._path = None if folder is None else folder / f"{json_digest(dict(identity))[-32:]}.jsonl"
        self._known = dict(_lines(self._path)) if self._path is not None else {}

    def find(self, key: str) -> dict[str, float] | None:
        return self._known.get(key)

    def note(self, key: str, values: dict[str, float]) -> None:
        """Adds a line, at once."""
        self._known[key] = values
        if self._path is None:
            return
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([key, values]) + "\n")


def identity_of(bundle: Bundle, text: str, machine: str) -> dict[str, Any]:
    """The same files, text, machine and program."""
    prints = [asdict(Fingerprint.of(source.path)) for source in bundle.sources]
    return {"fairway": __version__, "sources": prints, "text": json_digest(text), "machine": machine}


def _lines(path: Path) -> list[tuple[str, dict[str, float]]]:
    """Whole lines only; a process that was killed may leave half a one."""
    found = []
    with suppress(OSError, UnicodeDecodeError):
        for line in path.read_text("utf-8").split("\n")[:-1]:
            with suppress(ValueError, TypeError):
                key, values = json.loads(line)
                found.append((key, values))
    return found
