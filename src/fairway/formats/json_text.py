"""JSON from strangers: bounded, strict, and always an object.

`json` alone would spend gigabytes on a few megabytes of brackets, keep the last of two equal keys
and accept half a surrogate pair. The rule: whatever the bytes, the answer is a dict or one FormatError.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fairway.errors import FormatError
from fairway.formats.source import Source

MAX_BYTES = 16 << 20
MAX_CONTAINERS = 200_000
"""Objects and arrays in one text: a safetensors header of 66,000 tensors fits."""
MAX_VALUES = 2_000_000

HINT = "Download the file again, or export it again from the model's source."


def read_object(path: Path, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """A JSON file that holds an object."""
    source = Source(path)
    if source.size > max_bytes:
        raise FormatError(f"{path} has {source.size} bytes, at most {max_bytes} are read.", hint=HINT)
    return parse_object(source.read(0, source.size), str(path))


def parse_object(raw: bytes, what: str) -> dict[str, Any]:
    """`what` names the text in the error: a path, or "the header of ..."."""
    if raw.count(b"{") + raw.count(b"[") > MAX_CONTAINERS or raw.count(b",") > MAX_VALUES:
        raise FormatError(f"{what} holds more values than any model needs.", hint=HINT)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"{what} is not UTF-8 at byte {error.start}.", hint=HINT) from error
    try:
        value = json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise FormatError(f"{what} is nested too deeply.", hint=HINT) from None
    except ValueError as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        raise FormatError(f"{what} is not valid JSON: {reason[:120]}.", hint=HINT) from None
    if not isinstance(value, dict):
        raise FormatError(f"{what} holds a JSON {type(value).__name__}, not an object.", hint=HINT)
    if b"\\u" in raw:
        _refuse_lone_surrogates(value, what)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice[:80]!r} appears twice")
    return found


def _refuse_lone_surrogates(value: dict[str, Any], what: str) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise FormatError(f"{what} holds half a surrogate pair.", hint=HINT) from None
