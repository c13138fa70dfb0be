"""What can be wrong with data: a table of kinds, and a count of each with the first places.

The rule: an error is a row that cannot be learned as meant, a warning one that probably is not meant, a note
what was done because the user or the template asked for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from fairway.tune import encode, render

Level: TypeAlias = Literal["error", "warning", "note"]
MOST_SHOWN = 20
"""Places that are kept of each kind; all are counted."""

# kind -> (level, what the rows are)
KINDS: dict[str, tuple[Level, str]] = {
    "json": ("error", "not valid JSON"),
    "csv": ("error", "not valid CSV"),
    "parquet": ("error", "cannot be read from the Parquet file"),
    "encoding": ("error", "not UTF-8"),
    "nul": ("error", "a NUL character, which no text has"),
    "line-length": ("error", "too long to be one row"),
    "shape": ("error", "not of the shape of the first row"),
    "role": ("error", "a role that is not known"),
    "content": ("error", "content that is missing or no text"),
    "empty-answer": ("error", "an empty assistant turn"),
    "role-order": ("error", "turns in an order that cannot be learned"),
    "template": ("error", "refused by the model's chat template"),
    "dropped": ("error", "not shown in full by the model's chat template"),
    "tokenizer": ("error", "cannot be spelled by the model's tokenizer"),
    "nothing-learned": ("error", "every label is masked: nothing would be learned"),
    "no-end": ("error", "an answer without the end-of-text token: the model would not learn to stop"),
    "two-bos": ("error", "two BOS tokens at the beginning"),
    "too-long": ("error", "longer than the length that was set"),
    "held-out": ("error", "also in the training data"),
    "held-out-near": ("error", "in the training data but for case, spaces and punctuation"),
    "held-out-prompt": ("warning", "a question that the training data asks too"),
    "turn-order": ("warning", "turns in an unusual order"),
    "duplicate": ("warning", "the same as an earlier row"),
    "near-duplicate": ("warning", "the same as an earlier row but for case, spaces and punctuation"),
    "unanswered": ("warning", "a prompt without an answer, which only --objective grpo learns from"),
    "same-answers": ("warning", "the preferred answer is the rejected one"),
    "control-token": ("warning", "a control token of the model, spelled out in the text"),
    "unknown-token": ("warning", "characters that the model's vocabulary lacks"),
    "placeholder": ("warning", "a placeholder that nobody filled in"),
    "outlier": ("warning", "many times longer than most"),
    render.UNPROMPTED: ("warning", "an answer that does not begin where the server's prompt for it ends"),
    encode.STRADDLES: ("warning", "the first learned token begins before the answer"),
    "split": ("note", "became one example per answer, because the template rewrites earlier turns"),
    render.END_ADDED: ("note", "got an end-of-text token, because the template ends no turn"),
    "truncated": ("note", "cut to the length that was set"),
    "skipped": ("note", "left out, being longer than the length that was set"),
}


@dataclass(frozen=True)
class Finding:
    """One row and what is wrong with it."""

    place: str
    """ "train.jsonl line 12" """
    message: str
    hint: str | None = None


@dataclass(frozen=True)
class Group:
    """All findings of one kind."""

    kind: str
    count: int
    first: tuple[Finding, ...]

    @property
    def level(self) -> Level:
        return KINDS[self.kind][0]

    @property
    def title(self) -> str:
        return KINDS[self.kind][1]


class Findings:
    """Collects them; memory does not grow with their number."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._first: dict[str, list[Finding]] = {}

    def add(self, kind: str, place: str, message: str = "", hint: str | None = None) -> None:
        self._counts[kind] += 1
        first = self._first.setdefault(kind, [])
        if len(first) < MOST_SHOWN:
            first.append(Finding(place, message, hint))

    def groups(self) -> tuple[Group, ...]:
        """Errors first, in the order of the table."""
        return tuple(
            Group(kind, self._counts[kind], tuple(self._first[kind])) for kind in KINDS if self._counts[kind]
        )


def count_of(groups: Sequence[Group], level: Level) -> int:
    return sum(group.count for group in groups if group.level == level)
