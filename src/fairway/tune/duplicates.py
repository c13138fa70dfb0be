"""Rows that say the same: within a file, and in a file that was meant to be held out.

Rows are compared by 64 bits of a digest, 24 bytes a row, so that millions fit in memory; that two different
rows of ten million share one has a chance of three in a million.
"""

from __future__ import annotations

import hashlib
import unicodedata
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fairway.tune.rows import ASSISTANT, Row, TextRow, conversation

DROPPED = str.maketrans("", "", ".,;:!?'\"`’‘“”…")
"""Punctuation that changes no question; signs that a sum is made of stay."""


@dataclass(frozen=True)
class Same:
    """Two rows, by number: `index` says what `earlier` said."""

    index: int
    earlier: int


class RowDigests:
    """Digests of every row that was added, by its number."""

    def __init__(self) -> None:
        self._rows = array("q")
        self._exact, self._near, self._prompt = array("Q"), array("Q"), array("Q")

    def add(self, index: int, row: Row) -> None:
        self._rows.append(index)
        self._exact.append(_digest(repr(row)))
        self._near.append(_digest(_normal(_words(row))))
        self._prompt.append(_digest(_normal(prompt)) if (prompt := _prompt(row)) else 0)

    def duplicates(self) -> Iterator[tuple[str, Same]]:
        """("duplicate" or "near-duplicate", rows), by row."""
        rows = np.array(self._rows, np.int64)
        exact, near = _earlier(np.array(self._exact, np.uint64)), _earlier(np.array(self._near, np.uint64))
        for at in np.flatnonzero((exact >= 0) | (near >= 0)).tolist():
            is_exact = exact[at] >= 0
            first = exact[at] if is_exact else near[at]
            yield "duplicate" if is_exact else "near-duplicate", Same(int(rows[at]), int(rows[first]))

    def overlap(self, training: RowDigests) -> Iterator[tuple[str, Same]]:
        """("held-out", "held-out-near" or "held-out-prompt", rows) for what `training` has too."""
        rows, theirs = np.array(self._rows, np.int64), np.array(training._rows, np.int64)
        levels = [
            ("held-out", _found(self._exact, training._exact)),
            ("held-out-near", _found(self._near, training._near)),
            ("held-out-prompt", _found(self._prompt, training._prompt)),
        ]
        for at in range(len(rows)):
            kind, where = next(((kind, places[at]) for kind, places in levels if places[at] >= 0), ("", -1))
            if kind:
                yield kind, Same(int(rows[at]), int(theirs[where]))


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "little")


def _normal(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold().translate(DROPPED)
    return " ".join(folded.split())


def _words(row: Row) -> str:
    if isinstance(row, TextRow):
        return row.text
    rejected = getattr(row, "rejected", ())
    return "\n".join(
        f"{each.role} {each.content} {each.more or ''}" for each in (*conversation(row), *rejected)
    )


def _prompt(row: Row) -> str:
    """Everything before the last answer."""
    messages = conversation(row)
    last = max((at for at, each in enumerate(messages) if each.role == ASSISTANT), default=0)
    return "\n".join(each.content for each in messages[:last])


def _earlier(digests: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """For each, the first place of the same digest before it, or -1."""
    order = np.argsort(digests, kind="stable")
    ordered = digests[order]
    begins = np.concatenate([[True], ordered[1:] != ordered[:-1]]) if len(ordered) else np.zeros(0, np.bool_)
    first = order[np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))]
    found = np.full(len(digests), -1, np.int64)
    found[order] = np.where(begins, -1, first)
    return found


def _found(wanted: array[int], among: array[int]) -> npt.NDArray[np.int64]:
    """For each wanted digest, the first place that has it, or -1; 0 is no digest."""
    digests, known = np.array(wanted, np.uint64), np.array(among, np.uint64)
    if not len(known):
        return np.full(len(digests), -1, np.int64)
    order = np.argsort(known, kind="stable")
    at = np.minimum(np.searchsorted(known[order], digests), len(known) - 1)
    places = order[at]
    return np.where((known[places] == digests) & (digests != 0), places, -1)
