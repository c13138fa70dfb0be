"""The linter: every row read, rendered, tokenised and judged, as training would see it.

It streams: of each row a few numbers stay, and the tokens of some to look at. The rule: nothing here decides
what is learned; it looks at the examples that the trainer gets.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fairway.registry.progress import Progress
from fairway.tune.dataset import Dataset
from fairway.tune.duplicates import RowDigests
from fairway.tune.encode import PROMPT, STRADDLES, Encoded, Encoder, Example, fitted
from fairway.tune.findings import Findings, Group, count_of
from fairway.tune.render import END_ADDED, UNPROMPTED
from fairway.tune.row_checks import RowChecks
from fairway.tune.rows import ChatRow, Row, RowError
from fairway.tune.statistics import Lengths, Packing, lengths_of, packing_of

CHUNK = 256
"""Rows that are tokenised at once, on all cores."""
NUM_SHOWN = 24
"""Examples whose tokens are kept, and as many of those with findings."""
UNKNOWN = ("<unk>", "[UNK]")
OUTLIER_TIMES, OUTLIER_TOKENS = 10, 1000


@dataclass(frozen=True)
class ShownToken:
    """One token to look at."""

    text: str
    learned: bool
    ends: bool
    """Whether it is an end-of-text token."""


@dataclass(frozen=True)
class Shown:
    """One example to look at."""

    place: str
    part: str
    tokens: tuple[ShownToken, ...]
    findings: tuple[str, ...]
    """Kinds."""


@dataclass(frozen=True)
class FileReport:
    """What one file holds."""

    path: Path
    format: str
    shape: str
    objective: str
    num_rows: int
    num_examples: int
    num_tokens: int
    num_learned: int
    num_stopping: int
    """Examples whose labels hold an end-of-text token."""
    lengths: Lengths | None
    packing: Packing | None
    groups: tuple[Group, ...]
    shown: tuple[Shown, ...]

    @property
    def num_errors(self) -> int:
        return count_of(self.groups, "error")

    @property
    def num_warnings(self) -> int:
        return count_of(self.groups, "warning")


@dataclass(frozen=True)
class CheckReport:
    """Of the training data and, where there is a file of it, the held-out data."""

    model: str
    learn: str
    max_length: int | None
    files: tuple[FileReport, ...]

    def counted(self) -> str:
        """ "2 errors, 1 warning" """
        errors = sum(file.num_errors for file in self.files)
        warnings = sum(file.num_warnings for file in self.files)
        return f"{errors:,} error{'s' * (errors != 1)}, {warnings:,} warning{'s' * (warnings != 1)}"

    def passed(self, *, strict: bool = False) -> bool:
        """No errors; if strict, no warnings either."""
        return not any(each.num_errors or (strict and each.num_warnings) for each in self.files)


def check(
    model: str, training: Dataset, held_out: Dataset | None, encoder: Encoder, progress: Progress
) -> CheckReport:
    """Raises nothing for wrong rows: they are what it is for."""
    total = len(training) + (len(held_out) if held_out else 0)
    first = _Pass(training, encoder)
    first.run(progress, 0, total)
    first.tell_duplicates()
    reports = [first.report()]
    if held_out is not None:
        second = _Pass(held_out, encoder)
        second.run(progress, len(training), total)
        second.tell_overlap(first)
        reports.append(second.report())
    settings = encoder.settings
    learn = "completion" if settings.raw and settings.learn != "all" else settings.learn
    return CheckReport(model, learn, settings.max_length, tuple(reports))


class _Pass:
    """One file from its first row to its last."""

    def __init__(self, data: Dataset, encoder: Encoder) -> None:
        self._data, self._encoder = data, encoder
        self._checks = RowChecks(encoder.tokenizer)
        self._findings = Findings()
        self._digests = RowDigests()
        self._lengths, self._rows = array("q"), array("q")
        self._num_learned = self._num_stopping = 0
        self._shown: list[Shown] = []
        self._shown_wrong: list[Shown] = []

    def run(self, progress: Progress, done: int, total: int) -> None:
        for start in range(0, len(self._data), CHUNK):
            numbers = range(start, min(start + CHUNK, len(self._data)))
            rows = list(self._readable(numbers))
            encoded = self._encoder.encode([row for _, row in rows])
            for (index, row), examples in zip(rows, encoded, strict=True):
                self._judge(index, row, examples)
            progress(done + numbers[-1] + 1, total, "")
        self._tell_outliers()

    def tell_duplicates(self) -> None:
        for kind, same in self._digests.duplicates():
            self._add(kind, same.index, f"as {self._data.place(same.earlier)}")

    def tell_overlap(self, training: _Pass) -> None:
        for kind, same in self._digests.overlap(training._digests):
            self._add(kind, same.index, f"as {training._place(same.earlier)}")

    def report(self) -> FileReport:
        data, lengths = self._data, self._lengths
        return FileReport(
            path=data.path,
            format=data.format,
            shape=data.shape.name,
            objective=data.shape.objective,
            num_rows=len(data),
            num_examples=len(lengths),
            num_tokens=sum(lengths),
            num_learned=self._num_learned,
            num_stopping=self._num_stopping,
            lengths=lengths_of(lengths),
            packing=packing_of(lengths, self._encoder.settings.max_length),
            groups=self._findings.groups(),
            shown=(*self._shown, *self._shown_wrong),
        )

    def _readable(self, numbers: range) -> Iterator[tuple[int, Row]]:
        for index in numbers:
            try:
                yield index, self._data.row(index)
            except RowError as error:
                self._tell(index, error)

    def _tell(self, index: int, error: RowError) -> None:
        message = error.message.removeprefix(f"{self._place(index)}: ")
        self._add(error.kind, index, message.removesuffix("."), error.hint)

    def _add(self, kind: str, index: int, message: str = "", hint: str | None = None) -> None:
        self._findings.add(kind, self._place(index), message, hint)

    def _place(self, index: int) -> str:
        return f"{self._data.path.name} {self._data.place(index)}"

    def _judge(self, index: int, row: Row, examples: Encoded) -> None:
        self._digests.add(index, row)
        kinds = []
        for kind, message in self._checks.problems(row):
            self._add(kind, index, message)
            kinds.append(kind)
        if isinstance(examples, RowError):
            self._tell(index, examples)
            return
        if isinstance(row, ChatRow) and len(examples) > 1:
            self._add("split", index, f"{len(examples)} examples")
        try:
            kept = fitted(row, examples, self._encoder.settings)
        except RowError as error:
            self._tell(index, error)
            kinds.append(error.kind)
            kept = examples
        if len(kept) < len(examples):
            self._add("skipped", index, f"{max(map(len, examples)):,} tokens")
        for example in kept:
            self._judge_example(index, example, kinds)

    def _judge_example(self, index: int, example: Example, kinds: list[str]) -> None:
        found = [*kinds]
        for kind, message in _problems(example, self._encoder):
            self._add(kind, index, f"{example.part}: {message}" if example.part and message else message)
            found.append(kind)
        self._count(index, example)
        self._show(index, example, found)

    def _count(self, index: int, example: Example) -> None:
        self._lengths.append(len(example))
        self._rows.append(index)
        self._num_learned += example.num_learned
        self._num_stopping += bool(_ends(example, self._encoder.end_ids).any())

    def _show(self, index: int, example: Example, kinds: list[str]) -> None:
        kept = self._shown_wrong if kinds else self._shown
        if len(kept) >= NUM_SHOWN:
            return
        ends, text = self._encoder.end_ids, self._encoder.tokenizer.token_text
        pairs = zip(example.ids.tolist(), example.learned.tolist(), strict=True)
        tokens = tuple(ShownToken(text(each), learned, each in ends) for each, learned in pairs)
        kept.append(Shown(self._place(index), example.part, tokens, tuple(dict.fromkeys(kinds))))

    def _tell_outliers(self) -> None:
        lengths = np.array(self._lengths)
        if not len(lengths):
            return
        limit = max(OUTLIER_TOKENS, OUTLIER_TIMES * float(np.median(lengths)))
        for at in np.flatnonzero(lengths > limit).tolist():
            self._add(
                "outlier", self._rows[at], f"{lengths[at]:,} tokens, the median is {np.median(lengths):,.0f}"
            )


def _problems(example: Example, encoder: Encoder) -> Iterator[tuple[str, str]]:
    """Of one example that fits."""
    if example.num_cut:
        yield "truncated", f"{example.num_cut:,} of {len(example) + example.num_cut:,} tokens are cut off"
    bos = encoder.tokenizer.bos_token_id
    if bos is not None and len(example) > 1 and (example.ids[:2] == bos).all():
        yield "two-bos", ""
    for name in UNKNOWN:
        if num_unknown := int((example.ids == encoder.tokenizer.token_id(name)).sum()):
            yield "unknown-token", f"{num_unknown:,} of {len(example):,} tokens are {name}"
    if example.part == PROMPT:
        return
    if not example.num_learned:
        yield "nothing-learned", "no token is learned"
    elif not example.num_cut and (run := _unended(example, encoder.end_ids)) is not None:
        near = encoder.tokenizer.decode(example.ids[max(0, run - 6) : run].tolist())
        yield "no-end", f"the answer ends with {near!r}"
    for note in (END_ADDED, UNPROMPTED, STRADDLES):
        if note in example.notes:
            yield note, ""


def _ends(example: Example, end_ids: frozenset[int]) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Where an end-of-text token is learned."""
    return np.isin(example.ids, list(end_ids)) & example.learned


def _unended(example: Example, end_ids: frozenset[int]) -> int | None:
    """The end of the first run of learned tokens without an end-of-text token among them."""
    edges = np.diff(np.concatenate([[False], example.learned, [False]]).astype(np.int8))
    ends = _ends(example, end_ids)
    starts, stops = np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist()
    return next((stop for start, stop in zip(starts, stops, strict=True) if not ends[start:stop].any()), None)
