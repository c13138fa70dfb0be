"""Typed access to a config.json: each value is checked where it is read.

Knows no family. The rule: a value of the wrong type or size is a `FormatError` that names the key
and the value, so nothing later meets a string where a number belongs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from fairway.errors import FormatError

T = TypeVar("T")

LARGEST = 2**31 - 1


class Fields:
    """A mapping of a config, read one key at a time. null counts as absent, as in transformers."""

    def __init__(self, values: Mapping[str, Any], where: str = "config.json") -> None:
        self.values = values
        self.where = where

    def __contains__(self, key: str) -> bool:
        return self.values.get(key) is not None

    def with_defaults(self, defaults: Mapping[str, Any]) -> Fields:
        """The same config where a key that is not there has the family's own default; null stays."""
        return Fields({**defaults, **self.values}, self.where)

    def integer(self, key: str, default: int | None = None, *, least: int = 1, most: int = LARGEST) -> int:
        value = self._present(key, default)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.wrong(key, "a whole number", value)
        if not least <= value <= most:
            raise self.wrong(key, f"between {least} and {most}", value)
        return value

    def optional_integer(self, key: str, default: int | None = None) -> int | None:
        return self.integer(key, default) if key in self or default is not None else None

    def number(self, key: str, default: float | None = None) -> float:
        value = self._present(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
            raise self.wrong(key, "a number")
        return float(value)

    def positive(self, key: str, default: float | None = None) -> float:
        value = self.number(key, default)
        if value <= 0:
            raise self.wrong(key, "greater than zero")
        return value

    def optional_positive(self, key: str, default: float | None = None) -> float | None:
        return self.positive(key, default) if key in self or default is not None else None

    def flag(self, key: str, default: bool = False) -> bool:
        value = self._present(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        value = self._present(key, default)
        if not isinstance(value, str):
            raise self.wrong(key, "a string")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._list(key)
        if not all(isinstance(item, str) for item in value):
            raise self.wrong(key, "a list of strings")
        return tuple(value)

    def numbers(self, key: str) -> tuple[float, ...]:
        value = self._list(key)
        if not all(isinstance(item, int | float) and _is_finite(item) for item in value):
            raise self.wrong(key, "a list of numbers")
        return tuple(float(item) for item in value)

    def section(self, key: str) -> Fields:
        """A nested object; an absent one is empty."""
        value = self.values.get(key)
        if value is None:
            value = {}
        if not isinstance(value, Mapping):
            raise self.wrong(key, "an object")
        return Fields(value, f"{self.where}, {key}")

    def wrong(self, key: str, expected: str, value: object = None) -> FormatError:
        shown = repr(self.values.get(key, value))[:60]
        return FormatError(f"{self.where}: {key} must be {expected}, not {shown}.")

    def _list(self, key: str) -> list[Any]:
        value = self._present(key, None)
        if not isinstance(value, list | tuple):
            raise self.wrong(key, "a list")
        return list(value)

    def _present(self, key: str, default: T | None) -> Any:  # noqa: ANN401
        value = self.values.get(key)
        if value is not None:
            return value
        if default is None:
            raise FormatError(f"{self.where}: {key} is missing.")
        return default


def _is_finite(value: float) -> bool:
    """JSON allows integers beyond every float."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
