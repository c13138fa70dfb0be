"""What happens to an output between its tensors being checked and its being published.

A graph can be right in every weight and wrong in what it computes: so it is run, by the runtime it is made
for, and its logits are compared with the source's. The rule: what `finish` makes is published only if its
checks pass, like everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np

from fairway.formats.bundle import Bundle
from fairway.kernels.select import select_backend
from fairway.proof.evaluation_text import mixed
from fairway.proof.forward import Forward, windows
from fairway.proof.hop import Side
from fairway.proof.likeness import Comparison
from fairway.proof.recorded import record_weights
from fairway.proof.thresholds import Thresholds
from fairway.proof.verdict import Check, judged
from fairway.tensors import F32, I32
from fairway.text.loader import load_tokenizer

WINDOW_TOKENS, NUM_WINDOWS = 64, 4
MAX_DIFFERENCE = 1e-3
"""Of two logits where nothing was rounded, relative to the largest of them if that is above 1."""
Run: TypeAlias = Callable[[I32], F32]
"""Ids of one text -> logits [tokens, vocabulary]."""


class Finish(Protocol):
    """The last step of a hop, on a folder in its workplace."""

    def run(self, source: Bundle, folder: Path) -> Check:
        """Makes what is missing in the folder, and proves it."""
        ...

    @property
    def leftovers(self) -> tuple[str, ...]:
        """Files of the folder that are not published."""
        ...

    @property
    def tools(self) -> Mapping[str, str]:
        """Name and version of every library that took part."""
        ...


def compare_with_source(name: str, source: Bundle, run: Run, limits: Thresholds) -> Check:
    """Logits of the source through our kernels and of `run` on the same text."""
    if source.tokenizer is None:
        return Check(name, "not applicable", "the source has no tokenizer, so there is no text to run")
    side = Side(source)
    assert side.config is not None
    length = min(WINDOW_TOKENS, side.config.max_context)
    recorded = record_weights(side, side.config.max_context, select_backend())
    forward, found, largest = Forward(recorded, length), Comparison(), 1.0
    for ids in windows(load_tokenizer(source.tokenizer), [mixed()], length, NUM_WINDOWS):
        logits = run(ids)
        start = 0
        for rows in forward.logits(ids):
            largest = max(largest, float(np.abs(rows).max()))
            found.add(rows, logits[start : start + len(rows)], ids[start + 1 : start + 1 + len(rows)])
            start += len(rows)
    return judged_likeness(name, found, largest, limits)


def judged_likeness(name: str, found: Comparison, largest: float, limits: Thresholds) -> Check:
    """`largest`: the largest logit, which differences are relative to."""
    result = found.result()
    ok = result.kl_mean <= limits.kl_mean and result.same_top >= limits.same_top
    if limits.kind == "lossless":
        ok = ok and result.max_difference <= MAX_DIFFERENCE * largest
    figure = f"KL {result.kl_mean:.2g}, {result.same_top:.2%} same top token, "
    figure += f"largest difference of a logit {result.max_difference:.2g}"
    limit = f"KL at most {limits.kl_mean:g}, same top at least {limits.same_top:.1%}"
    return judged(name, ok, figure, limit)
