"""Both models on the same text: largest difference, KL divergence, same top token, perplexities.

Token ids are the source's; the vocabularies must have the same size. The rule: both read every chunk
together, so memory holds one chunk of each, not a text's worth of logits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from fairway.proof.forward import Forward
from fairway.proof.likeness import Comparison
from fairway.proof.recorded import Recorded
from fairway.tensors import I32, Array

BIN_EDGES = tuple(10.0 ** (exponent / 4) for exponent in range(-40, 7))
"""Divergences from 1e-10 to about 30 nats, four bins to a power of ten."""


@dataclass(frozen=True)
class LogitsEvidence:
    """KL(source || target) in nats per token, perplexities of the text."""

    text: str
    """What the text is called."""
    num_windows: int
    window_tokens: int
    num_tokens: int
    max_difference: float
    kl_mean: float
    kl_p99: float
    kl_max: float
    same_top: float
    source_perplexity: float
    target_perplexity: float
    kl_counts: tuple[int, ...]
    """Tokens per bin of `BIN_EDGES`: below the first, between, above the last."""

    @property
    def perplexity_change(self) -> float:
        """Relative; positive is worse."""
        return self.target_perplexity / self.source_perplexity - 1


Progress = Callable[[int, int, str], None]


def compare_logits(
    source: Recorded, target: Recorded, ids: Sequence[I32], text: str, progress: Progress | None = None
) -> LogitsEvidence:
    """Runs every window through both."""
    length = len(ids[0])
    run = partial(Forward, length=length)
    ours, theirs = run(source), run(target)
    found = Comparison()
    for done, window in enumerate(ids):
        start = 0
        for want, have in zip(ours.logits(window), theirs.logits(window), strict=True):
            found.add(want, have, window[start + 1 : start + 1 + len(want)])
            start += len(want)
        if progress is not None:
            progress(done + 1, len(ids), "windows of text")
    likeness = found.result()
    return LogitsEvidence(
        text=text,
        num_windows=len(ids),
        window_tokens=length,
        num_tokens=likeness.num_tokens,
        max_difference=likeness.max_difference,
        kl_mean=likeness.kl_mean,
        kl_p99=likeness.kl_p99,
        kl_max=float(found.divergences.max()),
        same_top=likeness.same_top,
        source_perplexity=likeness.reference_perplexity,
        target_perplexity=likeness.perplexity,
        kl_counts=_counted(found.divergences),
    )


def _counted(divergences: Array) -> tuple[int, ...]:
    places = np.searchsorted(BIN_EDGES, divergences)
    return tuple(np.bincount(places, minlength=len(BIN_EDGES) + 1).tolist())
