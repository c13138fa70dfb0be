"""How near one model's predictions are to another's on the same text: the field's usual figures.

Logits in, numbers out; knows no model. Sums are float64. The KL divergence is KL(reference || other), in
nats per token; the perplexities are of the text itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from fairway.tensors import F32, I32, Array

F64: TypeAlias = npt.NDArray[np.float64]

CHUNK_BYTES = 2 << 20
"""float64 values of one model at once: what stays in the processor's cache is four times as fast."""


@dataclass(frozen=True)
class Likeness:
    """One model beside the reference."""

    perplexity: float
    reference_perplexity: float
    kl_mean: float
    kl_p99: float
    same_top: float
    """Share of tokens for which both find the same next token most likely."""
    num_tokens: int
    max_difference: float = 0.0
    """The largest between two logits of the same token."""

    @property
    def perplexity_change(self) -> float:
        """Relative; positive is worse."""
        return self.perplexity / self.reference_perplexity - 1

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"perplexity_change": self.perplexity_change}


@dataclass
class Comparison:
    """Collects chunk after chunk."""

    _nats: list[F64] = field(default_factory=list)
    _reference_nats: list[F64] = field(default_factory=list)
    _divergences: list[F64] = field(default_factory=list)
    _same: list[Array] = field(default_factory=list)
    _max_difference: float = 0.0

    def add(self, reference: F32, logits: F32, next_ids: I32) -> None:
        """Logits [T, vocabulary] of both; row t predicts next_ids[t], rows beyond those count for nothing."""
        for rows in _chunks(len(next_ids), reference.shape[1]):
            self._add(reference[rows], logits[rows], next_ids[rows])

    def _add(self, reference: F32, logits: F32, next_ids: I32) -> None:
        rows = np.arange(len(next_ids))
        with np.errstate(all="ignore"):  # a broken model's logits may be no numbers, and so are its figures
            self._max_difference = float(np.fmax(self._max_difference, np.abs(logits - reference).max()))
            ours, theirs = _shifted(logits), _shifted(reference)
            weights = np.exp(theirs)
            total = weights.sum(axis=1)
            # KL = sum(p * (log p - log q)), with log p = shifted - log(sum of exp(shifted)).
            apart = np.einsum("ij,ij->i", weights, theirs - ours) / total
            our_scale, their_scale = np.log(np.exp(ours).sum(axis=1)), np.log(total)
            self._divergences.append(np.maximum(apart - their_scale + our_scale, 0))
            self._nats.append(our_scale - ours[rows, next_ids])
            self._reference_nats.append(their_scale - theirs[rows, next_ids])
        self._same.append(logits.argmax(axis=1) == reference.argmax(axis=1))

    @property
    def divergences(self) -> F64:
        """Of every token, in nats."""
        return np.concatenate(self._divergences)

    def result(self) -> Likeness:
        divergences = self.divergences
        return Likeness(
            perplexity=float(np.exp(np.concatenate(self._nats).mean())),
            reference_perplexity=float(np.exp(np.concatenate(self._reference_nats).mean())),
            kl_mean=float(divergences.mean()),
            kl_p99=float(np.percentile(divergences, 99)),
            same_top=float(np.mean(np.concatenate(self._same))),
            num_tokens=len(divergences),
            max_difference=self._max_difference,
        )


def _shifted(logits: F32) -> F64:
    """float64 [T, vocabulary] with the largest of each row at 0."""
    values = logits.astype(np.float64)
    values -= values.max(axis=1, keepdims=True)
    return values


def _chunks(num_rows: int, vocab_size: int) -> Iterator[slice]:
    step = max(1, CHUNK_BYTES // (8 * vocab_size))
    return (slice(start, min(start + step, num_rows)) for start in range(0, num_rows, step))
