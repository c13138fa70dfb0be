"""Embeddings: the cosine between both models' pooled hidden states of the same texts.

Pooled as the bundle says (mean, last or cls); a decoder that says nothing gives its last token's state.
The rule: two bundles that pool differently are two different models, whatever their cosine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fairway.errors import UnsupportedError
from fairway.formats.bundle import Bundle
from fairway.proof.recorded import Recorded
from fairway.proof.trace import final_states
from fairway.tensors import F32
from fairway.text.tokenizer import Tokenizer

MOST_TOKENS = 128
DEFAULT_POOLING = "last"


@dataclass(frozen=True)
class EmbeddingsEvidence:
    """Cosines over all texts; the pooling and normalisation that each bundle states."""

    num_texts: int
    cosine_min: float
    cosine_mean: float
    pooling: tuple[str, str]
    normalises: tuple[bool | None, bool | None]


def compare_embeddings(
    sides: tuple[tuple[Bundle, Recorded], tuple[Bundle, Recorded]], tokenizer: Tokenizer, texts: Sequence[str]
) -> EmbeddingsEvidence:
    """`sides` are source and target. Raises `UnsupportedError` for a pooling that is not known here."""
    (source, ours), (target, theirs) = sides
    kinds = _pooling(source), _pooling(target)
    cosines = []
    for text in texts:
        ids = np.array(tokenizer.encode(text)[:MOST_TOKENS], np.int32)
        a, b = pool(final_states(ours, ids), kinds[0]), pool(final_states(theirs, ids), kinds[0])
        cosines.append(cosine(a, b))
    return EmbeddingsEvidence(
        num_texts=len(texts),
        cosine_min=float(np.min(cosines)),
        cosine_mean=float(np.mean(cosines)),
        pooling=kinds,
        normalises=(_normalises(source), _normalises(target)),
    )


def pool(states: F32, kind: str) -> F32:
    """[T, width] to [width], or as many times the width as `kind` joins by "+"."""
    if "+" in kind:
        return np.concatenate([pool(states, each) for each in kind.split("+")])
    match kind:
        case "mean":
            return np.asarray(states.mean(axis=0), np.float32)
        case "mean_sqrt":
            return np.asarray(states.sum(axis=0) / np.sqrt(len(states)), np.float32)
        case "weighted_mean":
            places = np.arange(1, len(states) + 1)
            return np.asarray(places @ states / places.sum(), np.float32)
        case "cls":
            return np.asarray(states[0])
        case "last":
            return np.asarray(states[-1])
        case "max":
            return np.asarray(states.max(axis=0), np.float32)
    raise UnsupportedError(f"Pooling {kind!r} is not known; there are mean, last, cls and max.")


def normalised(vector: F32) -> F32:
    """Of length one."""
    found: F32 = vector / max(float(np.linalg.norm(vector)), 1e-12)
    return found


def cosine(a: F32, b: F32) -> float:
    """1 for equal vectors, exactly."""
    if np.array_equal(a, b):
        return 1.0
    x, y = a.astype(np.float64), b.astype(np.float64)
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def _pooling(bundle: Bundle) -> str:
    return DEFAULT_POOLING if bundle.pooling is None else bundle.pooling.kind


def _normalises(bundle: Bundle) -> bool | None:
    return None if bundle.pooling is None else bundle.pooling.normalize
