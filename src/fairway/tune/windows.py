"""Texts end to end, learned in windows whose length grows in stages (TRL's packing strategy "wrapped").

A window begins with the last token of the one before it, so that every token is learned; the end of the texts
is followed by their beginning. Each epoch cuts at other places and in another order. The rule: the windows of
an update are a function of the recipe and the step alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fairway.errors import FormatError
from fairway.tune.encode import Example
from fairway.tune.order import random_of
from fairway.tune.recipe import Recipe


class Windows:
    """Every window there can be, by a number: `stage * num_tokens + first token`."""

    def __init__(self, texts: Sequence[Example], lengths: Sequence[int]) -> None:
        """`lengths` of the stages' windows. Raises `FormatError` for texts shorter than one window."""
        self.ids = np.concatenate([each.ids for each in texts])
        self.learned = np.concatenate([each.learned for each in texts])
        self.lengths = tuple(lengths)
        if len(self.ids) < max(lengths):
            raise FormatError(
                f"All texts together have {len(self.ids):,} tokens, and a window has {max(lengths):,}.",
                hint="Lower --max-length, or name more text.",
            )

    @property
    def num_tokens(self) -> int:
        return len(self.ids)

    @property
    def longest(self) -> int:
        """Tokens of a window of the last stage."""
        return self.lengths[-1]

    def __getitem__(self, number: int) -> Example:
        stage, first = divmod(number, self.num_tokens)
        at = np.arange(first, first + self.lengths[stage]) % self.num_tokens
        return Example("", self.ids[at], self.learned[at])


def cut(texts: Sequence[Example], length: int) -> list[Example]:
    """Held-out texts as windows, each token once; the last one is shorter."""
    if not texts:
        return []
    ids, learned = (np.concatenate(parts) for parts in zip(*((t.ids, t.learned) for t in texts), strict=True))
    starts = range(0, len(ids) - 1, length - 1)
    return [Example("", ids[at : at + length], learned[at : at + length]) for at in starts]


@dataclass(frozen=True)
class Stage:
    """Updates that learn windows of one length."""

    length: int
    first_step: int
    per_step: int
    """Windows of an update."""
    at_once: int
    """Windows of a batch."""
    num_windows: int
    """Of an epoch."""


class WindowBatches:
    """A `batches.BatchPlan`: which windows make which update."""

    def __init__(self, windows: Windows, recipe: Recipe) -> None:
        self._num_tokens, self._recipe = windows.num_tokens, recipe
        self._starts = lru_cache(maxsize=2)(self._starts_of)
        size, accumulated = recipe.per_device_train_batch_size, recipe.gradient_accumulation_steps
        per_epoch = _num_windows(windows.num_tokens, windows.longest)
        steps = math.ceil(recipe.num_train_epochs * per_epoch / (size * accumulated))
        self.num_steps = recipe.max_steps or max(1, steps)
        self._stages = []
        share = 0.0
        for length, next_share in zip(windows.lengths, [*recipe.stage_shares, 1.0], strict=True):
            at_once = max(1, size * windows.longest // length)
            first, count = round(share * self.num_steps), _num_windows(windows.num_tokens, length)
            self._stages.append(Stage(length, first, at_once * accumulated, at_once, count))
            share += next_share
        done = [math.floor(self.epoch_at(step)) for step in range(self.num_steps + 1)]
        self.epoch_ends = [step for step in range(1, self.num_steps + 1) if done[step] > done[step - 1]]

    @property
    def num_tokens(self) -> int:
        """That one epoch learns."""
        return self._num_tokens

    def is_first(self, step: int) -> bool:  # noqa: ARG002
        """Each update has windows of its own."""
        return True

    def at(self, step: int) -> list[list[int]]:
        """The batches of one update, each a list of windows that are computed at once."""
        number, stage = self._stage(step)
        first = (step - stage.first_step) * stage.per_step
        chosen = [number * self._num_tokens + self._start(stage, first + at) for at in range(stage.per_step)]
        return [chosen[start : start + stage.at_once] for start in range(0, len(chosen), stage.at_once)]

    def length_at(self, step: int) -> int:
        """Of the windows of one update."""
        return self._stage(step)[1].length

    def epoch_at(self, step: int) -> float:
        """How often the text was seen after `step` updates."""
        ends = [*(each.first_step for each in self._stages[1:]), self.num_steps]
        return sum(
            max(0, min(step, end) - each.first_step) * each.per_step / each.num_windows
            for each, end in zip(self._stages, ends, strict=True)
        )

    def _stage(self, step: int) -> tuple[int, Stage]:
        return max((at, each) for at, each in enumerate(self._stages) if each.first_step <= step)

    def _start(self, stage: Stage, index: int) -> int:
        """The first token of a stage's window, which goes on with another epoch where one ends."""
        epoch, inside = divmod(index, stage.num_windows)
        return int(self._starts(stage.length, epoch)[inside])

    def _starts_of(self, length: int, epoch: int) -> npt.NDArray[np.int64]:
        """First tokens of one epoch's windows, in the order they are learned."""
        random = random_of(self._recipe.seed, length, epoch)
        shift, count = int(random.randint(length)), _num_windows(self._num_tokens, length)
        starts = (shift + (length - 1) * np.arange(count)) % self._num_tokens
        return random.permutation(starts).astype(np.int64)


def _num_windows(num_tokens: int, length: int) -> int:
    """So many that every token is learned, a few of them twice."""
    return -(-num_tokens // (length - 1))
