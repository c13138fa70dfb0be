"""A table of a TOML file becomes a dataclass, or one sentence that names file, line, table and key.

Knows types, required keys, dates and near misses; what the entries mean it does not know.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import re
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from fairway.errors import SettingsError

T = TypeVar("T")
DATE = re.compile(r"\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?")
KIND_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
EXAMPLES = {str: '"..."', int: "1", float: "1.5", bool: "true"}


@dataclass(frozen=True)
class Place:
    """Where a table stands: it may be spread over files, so every key knows its own."""

    table: str
    """As it is written: [tools.vllm]."""
    where: str
    """Of the table: "mine.toml, line 3"."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Of keys, where they are known."""

    def __str__(self) -> str:
        return f"{self.where}: {self.table}"

    def of(self, key: str) -> str:
        return f"{self.keys.get(key, self.where)}: {self.table}"

    def within(self, key: str) -> Place:
        """A table in this table."""
        return Place(f"{self.table} {key}", self.keys.get(key.partition("[")[0], self.where))


def entry(cls: type[T], entry_id: str | None, table: Mapping[str, Any], place: Place) -> T:
    """Raises `SettingsError`."""
    kind: Any = cls
    hints, defaults = field_types(kind), _defaults(kind)
    known = [name for name in hints if name != "id"]
    for key in table:
        if key not in known:
            hint = did_you_mean(key, known)
            raise SettingsError(f"{place.of(key)} has an unknown key {key}.", hint=hint)
    values: dict[str, Any] = {} if entry_id is None else {"id": entry_id}
    for key in known:
        if key in table:
            values[key] = _value(hints[key], table[key], key, place)
        elif key not in defaults:
            raise SettingsError(
                f"{place} lacks the key {key}.", hint=f"Write {key} = {_example(hints[key])}."
            )
    return cls(**values)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"Did you mean {nearest[0]}?" if nearest else f"There are: {', '.join(names)}."


def _value(hint: Any, value: Any, key: str, place: Place) -> Any:  # noqa: ANN401
    origin = get_origin(hint)
    if origin is Annotated:
        plain, mark = get_args(hint)
        return _dated(value, key, place) if mark == "date" else _value(plain, value, key, place)
    if origin in (types.UnionType, Union):
        return _value(get_args(hint)[0], value, key, place)
    if origin is Literal:
        if value not in get_args(hint):
            choices = map(str, get_args(hint))
            raise SettingsError(f"{_at(place, key)} is {value!r}.", hint=did_you_mean(str(value), choices))
        return value
    if origin is tuple:
        if not isinstance(value, list):
            _wrong(hint, value, key, place, "a list")
        member = get_args(hint)[0]
        return tuple(_value(member, each, f"{key}[{at}]", place) for at, each in enumerate(value))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            _wrong(hint, value, key, place, "a table")
        return entry(hint, None, value, place.within(key))
    if hint is float and type(value) is int:
        value = float(value)
    if type(value) is not hint:
        _wrong(hint, value, key, place, KIND_WORDS[hint])
    if isinstance(value, (int, float)) and not (math.isfinite(value) and value >= 0):
        raise SettingsError(f"{_at(place, key)} is {value}.", hint="Write a number from 0 on.")
    return value


def _wrong(hint: Any, value: Any, key: str, place: Place, kind: str) -> NoReturn:  # noqa: ANN401
    example = f"Write {key} = {_example(hint)}." if key.isidentifier() else f"Write {_example(hint)}."
    raise SettingsError(f"{_at(place, key)} is {value!r}; it must be {kind}.", hint=example)


def _at(place: Place, key: str) -> str:
    return f"{place.of(key.partition('[')[0])} {key}"


def _example(hint: Any) -> str:  # noqa: ANN401
    """How a value of this kind is written in TOML."""
    origin, members = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return '"2026-11-20"' if members[1] == "date" else _example(members[0])
    if origin in (types.UnionType, Union):
        return _example(members[0])
    if origin is Literal:
        return f'"{members[0]}"'
    if origin is tuple:
        return f"[{_example(members[0])}]"
    return EXAMPLES.get(hint, "{ ... }")


def _dated(value: Any, key: str, place: Place) -> str:  # noqa: ANN401
    if not isinstance(value, str) or not DATE.fullmatch(value):
        raise SettingsError(f"{_at(place, key)} is {value!r}, which is no date.", hint='Write "YYYY-MM-DD".')
    return value


@functools.cache
def field_types(cls: Any) -> dict[str, Any]:  # noqa: ANN401
    """Field name -> annotation, with the marks that `schema.py` gives it."""
    return get_type_hints(cls, include_extras=True)


@functools.cache
def _defaults(cls: Any) -> frozenset[str]:  # noqa: ANN401
    fields = dataclasses.fields(cls)
    return frozenset(field.name for field in fields if field.default is not dataclasses.MISSING)
