"""The functions a Go template may call: Go's own and Ollama's.

Each takes evaluated arguments and checks them; `and` and `or`, which do not evaluate all of theirs, are
the evaluator's. There is no function that reaches outside: no files, no calls, no environment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import TypeAlias

from fairway.text import template_limits as limits
from fairway.text.go_template_values import (
    Struct,
    TypedList,
    TypedMap,
    TypeNames,
    Value,
    ValueFailure,
    equal,
    is_true,
    less,
    printed,
    to_json,
    typescript,
)

GoFunction: TypeAlias = Callable[..., Value]
SHORT_CIRCUIT = frozenset({"and", "or"})
_VERB = re.compile(r"%([-+# 0]*)(\d*)(?:\.(\d*))?(.?)", re.DOTALL)
_MAX_WIDTH = 1000


def functions(clock: Callable[[], datetime]) -> Mapping[str, GoFunction]:
    """By name; `clock` is what the date functions read."""
    return {
        "not": lambda value: not is_true(value),
        "len": _length,
        "index": _index,
        "slice": _slice,
        "print": _sprint,
        "println": lambda *values: " ".join(printed(value, nested=True) for value in values) + "\n",
        "printf": _sprintf,
        "html": lambda *values: _html(_sprint(*values)),
        "eq": _eq,
        "ne": lambda left, right: not equal(left, right),
        "lt": less,
        "le": lambda left, right: less(left, right) or equal(left, right),
        "gt": lambda left, right: not (less(left, right) or equal(left, right)),
        "ge": lambda left, right: not less(left, right),
        "json": to_json,
        "currentDate": lambda *_: clock().strftime("%Y-%m-%d"),
        "yesterdayDate": lambda *_: (clock() - timedelta(days=1)).strftime("%Y-%m-%d"),
        "toTypeScriptType": typescript,
    }


def _eq(first: Value, *others: Value) -> bool:
    if not others:
        raise ValueFailure("eq has nothing to compare with")
    return any(equal(first, other) for other in others)


def _length(value: Value) -> int:
    """Of text in bytes."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "replace"))
    if isinstance(value, list | dict | TypeNames):
        return len(value)
    raise ValueFailure("len is asked of something without a length")


def _index(value: Value, *keys: Value) -> Value:
    for key in keys:
        if isinstance(value, dict) and isinstance(key, str):
            value = value.get(key)
            continue
        items = value.encode("utf-8", "replace") if isinstance(value, str) else value
        if not isinstance(items, list | bytes | TypeNames) or type(key) is not int:
            raise ValueFailure("index is asked of something without places, or with a wrong key")
        if not 0 <= key < len(items):
            raise ValueFailure(f"there is no place {key} in a list of {len(items)}")
        value = items[key]
    return value


def _slice(value: Value, *places: Value) -> Value:
    if not isinstance(value, str | list) or len(places) > 3:
        raise ValueFailure("slice is asked of something that is neither text nor a list")
    items = value.encode("utf-8", "replace") if isinstance(value, str) else value
    first, last, *_ = (*places, *(0, len(items))[len(places) :]) if len(places) < 2 else places
    if not all(type(place) is int for place in places) or not 0 <= first <= last <= len(items):
        raise ValueFailure(f"there is no slice {first} to {last} in a length of {len(items)}")
    part = items[first:last]
    if isinstance(part, bytes):
        return part.decode("utf-8", "replace")
    return TypedList(part) if isinstance(value, TypedList) else part


def _sprint(*values: Value) -> str:
    """Go's Sprint: a space between two operands when neither is text."""
    text = ""
    for at, value in enumerate(values):
        if at and not isinstance(value, str) and not isinstance(values[at - 1], str):
            text += " "
        text += printed(value, nested=True)
        limits.require_size(len(text))
    return text


def _sprintf(format: Value, *values: Value) -> str:
    if not isinstance(format, str):
        raise ValueFailure("printf's format is not text")
    left = list(values)

    def written(match: re.Match[str]) -> str:
        flags, width, precision, verb = match.groups()
        if verb == "%":
            return "%"
        if verb not in "vsdqtxfeg" or not verb:
            raise ValueFailure(f"printf's verb %{verb} is not one that templates use")
        if not left:
            return f"%!{verb}(MISSING)"
        return _formatted(left.pop(0), verb, flags, (int(width or 0), precision))

    text = _VERB.sub(written, format)
    limits.require_size(len(text))
    if left:
        raise ValueFailure("printf has more values than verbs")
    return text


def _formatted(value: Value, verb: str, flags: str, sizes: tuple[int, str | None]) -> str:
    width, precision = sizes
    if max(width, int(precision or 0)) > _MAX_WIDTH:
        raise limits.LimitReached("it uses a format with a very wide field")
    if set(flags) - set("-0"):
        raise ValueFailure(f"printf's flags {flags!r} are not ones that templates use")
    text = _of_verb(value, verb, precision)
    if "-" in flags:
        return text.ljust(width)
    return text.zfill(width) if "0" in flags and verb in "dfeg" else text.rjust(width)


def _of_verb(value: Value, verb: str, precision: str | None) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if verb == "v" or (verb == "s" and isinstance(value, str | TypedList | TypedMap | TypeNames | Struct)):
        text = printed(value, nested=True)
        return text if precision is None or verb == "v" else text[: int(precision or 0)]
    if verb == "d" and type(value) is int and precision is None:
        return str(value)
    if verb == "q" and isinstance(value, str):
        return quoted(value)
    if verb == "t" and isinstance(value, bool):
        return printed(value)
    if verb == "x" and type(value) is int:
        return f"{value:x}"
    if verb in "feg" and isinstance(value, float) and is_number and (precision or verb != "g"):
        return f"{value:.{int(precision or 6)}{verb}}"
    raise ValueFailure(f"printf's %{verb} does not print such a value")


def quoted(text: str) -> str:
    """Go's %q; like JSON for what can be printed."""
    pieces = []
    for char in text:
        if char.isprintable() or char == " ":
            pieces.append(json.dumps(char, ensure_ascii=False)[1:-1])
        elif char in "\n\t\r\b\f":
            pieces.append(json.dumps(char)[1:-1])
        elif ord(char) < 0x80:
            pieces.append({"\a": "\\a", "\v": "\\v"}.get(char, f"\\x{ord(char):02x}"))
        else:
            pieces.append(f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}")
    return f'"{"".join(pieces)}"'


def _html(text: str) -> str:
    for char, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&#34;"), ("'", "&#39;")):
        text = text.replace(char, entity)
    return text.replace("\0", "\ufffd")


NAMES = frozenset(functions(datetime.now)) | SHORT_CIRCUIT
