"""An encoder's graph against its source: the same texts in one padded batch, and each alone in NumPy.

The rule: padding, lengths and pooling are part of what is compared, not only the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from fairway.formats.bundle import Bundle
from fairway.proof.embeddings import cosine, normalised, pool
from fairway.proof.encoder_forward import EncoderForward
from fairway.proof.evaluation_text import sections
from fairway.proof.thresholds import Thresholds
from fairway.proof.verdict import Check, judged, not_applicable
from fairway.tensors import F32, I32, Array
from fairway.text.loader import load_tokenizer

Run: TypeAlias = Callable[[Mapping[str, Array]], Mapping[str, Array]]
"""Inputs by name -> outputs by name."""
LENGTHS = (64, 41, 17, 5)
"""Tokens of the texts that make the batch; the longest first."""
MAX_DIFFERENCE = 1e-3
"""Of two numbers where nothing was rounded, relative to the largest of them if that is above 1."""


def compare_encoder(name: str, source: Bundle, run: Run, limits: Thresholds) -> Check:
    """Every output of `run` for texts of our own."""
    if source.tokenizer is None:
        return not_applicable(name, "the source has no tokenizer, so there is no text to run")
    forward = EncoderForward(source)
    texts = _texts(source, forward.config.max_tokens)
    found = run(batch(texts, forward.config.padding_id, forward.config.num_types > 1))
    largest, cosines = 0.0, []
    for row, ids in enumerate(texts):
        for key, wanted in expected(forward, source, ids).items():
            got = found[key][row][: len(ids)] if key == "last_hidden_state" else found[key][row]
            got = got[: len(ids)] if forward.config.head == "tokens" else got
            size = max(1.0, float(np.abs(wanted).max()))
            largest = max(largest, float(np.abs(got - wanted).max()) / size)
            cosines.append(cosine(wanted.ravel(), got.ravel()))
    ok = min(cosines) >= limits.embedding_cosine
    if limits.kind == "lossless":
        ok = ok and largest <= MAX_DIFFERENCE
    figure = f"cosine at least {min(cosines):.7f}, largest difference {largest:.2g}, {len(texts)} texts"
    return judged(name, ok, figure, f"cosine at least {limits.embedding_cosine:g}")


def expected(forward: EncoderForward, source: Bundle, ids: I32) -> dict[str, F32]:
    """What the graph's outputs should be for one text."""
    states = forward.states(ids)
    if forward.config.head != "states":
        return {"logits": forward.logits(states)}
    if source.pooling is None:
        return {"last_hidden_state": states}
    vector = pool(states, source.pooling.kind)
    vector = normalised(vector) if source.pooling.normalize else vector
    return {"last_hidden_state": states, "sentence_embedding": vector}


def batch(texts: list[I32], padding_id: int, takes_types: bool) -> dict[str, Array]:
    """Padded on the right."""
    size = max(map(len, texts))
    ids = np.full((len(texts), size), padding_id, np.int64)
    mask = np.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text)], mask[row, : len(text)] = text, 1
    found: dict[str, Array] = {"input_ids": ids, "attention_mask": mask}
    return found | ({"token_type_ids": np.zeros_like(ids)} if takes_types else {})


def _texts(source: Bundle, most: int) -> list[I32]:
    """One section each, with what the tokenizer puts around a text."""
    assert source.tokenizer is not None
    tokenizer = load_tokenizer(source.tokenizer)
    whole = [tokenizer.encode(text) for text in sections()[: len(LENGTHS)]]
    return [np.array(ids[: min(size, most)], np.int32) for ids, size in zip(whole, LENGTHS, strict=False)]
