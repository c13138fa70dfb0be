"""Typed access to a GGUF file's metadata: a key has the type it should have, or is an error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fairway.errors import FormatError
from fairway.formats.gguf_values import HINT


def shortest(value: float) -> float:
    """A float32 as the shortest decimal that means it: 9.99999974e-06 was 1e-05."""
    return float(str(np.float32(value)))


@dataclass(frozen=True)
class Keys:
    """The keys of one architecture: `integer("block_count")` reads `llama.block_count`."""

    path: Path
    metadata: Mapping[str, Any]
    architecture: str

    def integer(self, name: str) -> int | None:
        """None if absent. A list of equal values, one per layer, counts as that value."""
        value = self._one(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 31:
            raise self._wrong(name, "a size")
        return value

    def number(self, name: str) -> float | None:
        value = self._one(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self._wrong(name, "a number")
        return shortest(value) if isinstance(value, float) else float(value)

    def text(self, name: str) -> str | None:
        value = self._value(name)
        if value is None or isinstance(value, str):
            return value
        raise self._wrong(name, "a text")

    def token_id(self, key: str) -> int | None:
        """An id under its full key, `tokenizer.ggml.eos_token_id`; None for the "none" some files write."""
        value = self.metadata.get(key)
        return value if type(value) is int and 0 <= value < 1 << 31 else None

    def values(self, name: str) -> list[Any] | None:
        """A list as it is; None if absent or not a list."""
        value = self._value(name)
        return value if isinstance(value, list) else None

    def _value(self, name: str) -> object:
        return self.metadata.get(f"{self.architecture}.{name}")

    def _one(self, name: str) -> object:
        value = self._value(name)
        if isinstance(value, list) and value and all(item == value[0] for item in value):
            return value[0]
        return value

    def _wrong(self, name: str, wanted: str) -> FormatError:
        value = str(self._value(name))[:60]
        return FormatError(
            f"{self.architecture}.{name} of {self.path} is {value!r}, not {wanted}.", hint=HINT
        )
