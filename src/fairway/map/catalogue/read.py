"""A table of a TOML file becomes a dataclass, or one sentence that names file, table and key.

Knows types, required keys, dates and near misses; what the entries mean it does not know.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import re
import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from fairway.errors import SettingsError

T = TypeVar("T")
DATE = re.compile(r"\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?")
KIND_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def entry(cls: type[T], entry_id: str | None, table: Mapping[str, Any], place: str) -> T:
    """`place` is "tools.toml: [tools.vllm]". Raises `SettingsError`."""
    kind: Any = cls
    hints, defaults = field_types(kind), _defaults(kind)
    known = [name for name in hints if name != "id"]
    for key in table:
        if key not in known:
            raise SettingsError(f"{place} has an unknown key {key}.", hint=did_you_mean(key, known))
    values: dict[str, Any] = {} if entry_id is None else {"id": entry_id}
    for key in known:
        if key in table:
            values[key] = _value(hints[key], table[key], f"{place} {key}")
        elif key not in defaults:
            raise SettingsError(f"{place} lacks the key {key}.")
    return cls(**values)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"Did you mean {nearest[0]}?" if nearest else f"There are: {', '.join(names)}."


def _value(hint: Any, value: Any, place: str) -> Any:  # noqa: ANN401
    origin = get_origin(hint)
    if origin is Annotated:
        plain, mark = get_args(hint)
        return _dated(value, place) if mark == "date" else _value(plain, value, place)
    if origin in (types.UnionType, Union):
        return _value(get_args(hint)[0], value, place)
    if origin is Literal:
        if value not in get_args(hint):
            choices = map(str, get_args(hint))
            raise SettingsError(f"{place} is {value!r}.", hint=did_you_mean(str(value), choices))
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise SettingsError(f"{place} is {value!r}; it must be a list.")
        member = get_args(hint)[0]
        return tuple(_value(member, each, f"{place}[{at}]") for at, each in enumerate(value))
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise SettingsError(f"{place} is {value!r}; it must be a table.")
        return entry(hint, None, value, place)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise SettingsError(f"{place} is {value!r}; it must be {KIND_WORDS[hint]}.")
    return value


def _dated(value: Any, place: str) -> str:  # noqa: ANN401
    if not isinstance(value, str) or not DATE.fullmatch(value):
        raise SettingsError(f"{place} is {value!r}, which is no date.", hint='Write "YYYY-MM-DD".')
    return value


@functools.cache
def field_types(cls: Any) -> dict[str, Any]:  # noqa: ANN401
    """Field name -> annotation, with the marks that `schema.py` gives it."""
    return get_type_hints(cls, include_extras=True)


@functools.cache
def _defaults(cls: Any) -> frozenset[str]:  # noqa: ANN401
    fields = dataclasses.fields(cls)
    return frozenset(field.name for field in fields if field.default is not dataclasses.MISSING)
