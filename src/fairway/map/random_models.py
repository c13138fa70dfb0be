"""`random:NAME`: models of a known shape with random weights, to measure a machine without a download."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fairway.errors import ModelNotFound
from fairway.formats.bundle import Bundle, TokenizerSource
from fairway.models.random import QWEN2_5_0_5B, random_bundle

PREFIX = "random:"
TINY: Mapping[str, Any] = dict(QWEN2_5_0_5B) | {
    "vocab_size": 1024,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 1024,
}
SHAPES: dict[str, Mapping[str, Any]] = {"qwen2.5-0.5b": QWEN2_5_0_5B, "tiny": TINY}


def random_model(name: str) -> Bundle:
    """The bundle that `random:NAME` means, with a vocabulary of made-up words so that it can be served."""
    shape = name.removeprefix(PREFIX)
    if shape not in SHAPES:
        near = difflib.get_close_matches(shape, SHAPES, n=1, cutoff=0.4)
        hint = f"Did you mean {PREFIX}{near[0]}?" if near else f"There are: {', '.join(SHAPES)}."
        raise ModelNotFound(f"There is no random model {shape!r}.", hint=hint)
    return replace(served_random(SHAPES[shape]), name=name, path=Path(name))


def served_random(config: Mapping[str, Any]) -> Bundle:
    """Random weights of the shape that a config.json describes, with a vocabulary of made-up words."""
    vocabulary = TokenizerSource("gguf", metadata=_vocabulary(config["vocab_size"]))
    return replace(random_bundle(config), tokenizer=vocabulary)


def _vocabulary(size: int) -> dict[str, Any]:
    """A SentencePiece vocabulary: one unknown, 256 bytes, then words."""
    words = [f"▁w{number}" for number in range(size - 257)]
    tokens = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *words]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [0.0] * size,
        "tokenizer.ggml.token_type": [2, *[6] * 256, *[1] * len(words)],
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.add_bos_token": False,
    }
