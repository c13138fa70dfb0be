"""Where a bundle comes from: every hop that led to it, from what, how, with which proof.

Kept as `fairway.json` in a folder and as the key `fairway.lineage` in a GGUF file. It is no part of the
content: two ways to the same weights give the same digest. Rule: a step is only ever added at the end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from fairway.errors import FormatError
from fairway.formats.json_text import parse_object
from fairway.formats.source import Source

FILE_NAME = "fairway.json"
GGUF_KEY = "fairway.lineage"
VERSION = 1
MAX_BYTES = 1 << 20
MAX_STEPS = 100


@dataclass(frozen=True)
class Origin:
    """What a hop read: a bundle by its name, container and digest."""

    name: str
    container: str
    digest: str


@dataclass(frozen=True)
class Step:
    """One hop."""

    hop: str
    """"huggingface -> gguf", "merge adapter", ..."""
    sources: tuple[Origin, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)
    """Program or library -> version."""
    made: str = ""
    """When, UTC, as ISO 8601."""
    proof: Mapping[str, Any] = field(default_factory=dict)
    accepted_by: str | None = None
    """Who published it although a proof failed."""


@dataclass(frozen=True)
class Lineage:
    """The digest of the bundle as it was published, and the steps to it, oldest first."""

    digest: str | None = None
    steps: tuple[Step, ...] = ()

    def then(self, step: Step) -> tuple[Step, ...]:
        """The steps of what is made from this."""
        return (*self.steps, step)[-MAX_STEPS:]

    def to_json(self) -> str:
        value = {"version": VERSION, "digest": self.digest, "steps": [asdict(step) for step in self.steps]}
        return json.dumps(value, indent=1, ensure_ascii=False)


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def read_lineage(folder: Path) -> Lineage | None:
    """What `fairway.json` of a folder says; None where there is none. `FormatError` for a broken one."""
    path = folder / FILE_NAME
    if not path.is_file():
        return None
    source = Source(path)
    if source.size > MAX_BYTES:
        raise FormatError(f"{path} has {source.size} bytes, at most {MAX_BYTES} are read.")
    return parse_lineage(source.read(0, source.size), str(path))


def parse_lineage(raw: bytes, what: str) -> Lineage:
    """`what` names the text in the error."""
    value = parse_object(raw, what)
    if value.get("version") != VERSION:
        raise FormatError(f"{what} is of version {str(value.get('version'))[:20]}, not {VERSION}.")
    digest, steps = value.get("digest"), value.get("steps", [])
    if not isinstance(steps, list) or len(steps) > MAX_STEPS or not isinstance(digest, str | None):
        raise FormatError(f"{what} does not list the steps that led to this model.")
    return Lineage(digest, tuple(_step(row, what) for row in steps))


def _step(row: object, what: str) -> Step:
    row = row if isinstance(row, dict) else {}
    try:
        sources = tuple(Origin(**{key: str(text) for key, text in each.items()}) for each in row["sources"])
        step = Step(**{**row, "sources": sources})
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise FormatError(f"{what} holds a step that is none: {str(error)[:100]}.") from None
    texts = (step.hop, step.made, step.accepted_by or "")
    tables = (step.settings, step.tools, step.proof)
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(t, dict) for t in tables):
        raise FormatError(f"{what} holds a step whose fields have the wrong types.")
    return step
