"""How near one model's predictions are to another's on the same text: the field's usual figures.

Logits in, numbers out; knows no model. Sums are float64. The KL divergence is KL(reference || other), in
nats per token; the perplexities are of the text itself.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from fairway.tensors import F32, Array


@dataclass(frozen=True)
class Likeness:
    """One variation beside the reference."""

    perplexity: float
    reference_perplexity: float
    kl_mean: float
    kl_p99: float
    same_top: float
    """Share of tokens for which both find the same next token most likely."""
    num_tokens: int

    @property
    def perplexity_change(self) -> float:
        """Relative; positive is worse."""
        return self.perplexity / self.reference_perplexity - 1

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"perplexity_change": self.perplexity_change}


@dataclass
class Comparison:
    """Collects window after window."""

    _nats: list[Array] = field(default_factory=list)
    _reference_nats: list[Array] = field(default_factory=list)
    _divergences: list[Array] = field(default_factory=list)
    _same: list[Array] = field(default_factory=list)

    def add(self, reference: F32, logits: F32, ids: Array) -> None:
        """Logits [T, vocabulary] of both for the tokens `ids` [T]; row t predicts token t + 1."""
        ours, theirs = log_softmax(logits[:-1]), log_softmax(reference[:-1])
        rows = np.arange(len(ids) - 1)
        self._nats.append(-ours[rows, ids[1:]])
        self._reference_nats.append(-theirs[rows, ids[1:]])
        self._divergences.append(np.maximum((np.exp(theirs) * (theirs - ours)).sum(axis=1), 0))
        self._same.append(ours.argmax(axis=1) == theirs.argmax(axis=1))

    def result(self) -> Likeness:
        divergences = np.concatenate(self._divergences)
        return Likeness(
            perplexity=float(np.exp(np.concatenate(self._nats).mean())),
            reference_perplexity=float(np.exp(np.concatenate(self._reference_nats).mean())),
            kl_mean=float(divergences.mean()),
            kl_p99=float(np.percentile(divergences, 99)),
            same_top=float(np.concatenate(self._same).mean()),
            num_tokens=len(divergences),
        )


def log_softmax(logits: F32) -> Array:
    """float64 [T, vocabulary]"""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted
