"""An encoder's forward pass in NumPy, one text at a time: what its graphs are compared with.

No engine: it is slow and knows no batch, which is what makes it a second opinion. Weights are read from the
bundle as they are stored and computed with in float32.
"""

from __future__ import annotations

import math

import numpy as np

from fairway.formats.bundle import Bundle
from fairway.kernels.reference_ops import activate, layer_norm
from fairway.models.conversion import floats_of
from fairway.models.encoders import check_encoder, distance_buckets, read_encoder
from fairway.tensors import F32, I32


class EncoderForward:
    """One model with its weights in memory. Raises as `check_encoder` does."""

    def __init__(self, bundle: Bundle) -> None:
        self.config = read_encoder(bundle.config, bundle.config_name)
        infos = check_encoder(bundle, self.config)
        self._weights = {name: floats_of(bundle.tensors.read(info.name)) for name, info in infos.items()}

    def states(self, ids: I32) -> F32:
        """[T, width] of a text without padding; all its tokens are of type 0."""
        config, weights = self.config, self._weights
        x = weights["embeddings.word_embeddings.weight"][ids]
        if config.num_types:
            x = x + weights["embeddings.token_type_embeddings.weight"][0]
        places = np.arange(len(ids)) + config.first_position
        x = self._norm(x + weights["embeddings.position_embeddings.weight"][places], "embeddings.LayerNorm")
        for number in range(config.num_layers):
            x = self._layer(x, f"{config.family.layer}.{number}.")
        return x

    def logits(self, states: F32) -> F32:
        """Classes of the text, or of every token."""
        config = self.config
        if config.head == "tokens":
            return self._linear(states, config.classes)
        first = self._linear(states[:1], config.family.dense)
        first = np.tanh(first) if config.family.dense_activation == "tanh" else np.maximum(first, 0)
        found: F32 = self._linear(first, config.classes)[0]
        return found

    def _layer(self, x: F32, layer: str) -> F32:
        names = self.config.family.names
        attended = self._linear(self._attention(x, layer), layer + names.out)
        x = self._norm(attended + x, layer + names.attention_norm)
        inner = activate(self._linear(x, layer + names.up), self.config.activation)
        return self._norm(self._linear(inner, layer + names.down) + x, layer + names.output_norm)

    def _attention(self, x: F32, layer: str) -> F32:
        """[T, width]; scores are [heads, T, T]."""
        config, names = self.config, self.config.family.names
        q, k, v = (
            self._linear(x, layer + name).reshape(len(x), config.num_heads, -1).transpose(1, 0, 2)
            for name in (names.query, names.key, names.value)
        )
        scores = q @ k.transpose(0, 2, 1) / np.float32(math.sqrt(config.head_size))
        if config.family.relative:
            places = np.arange(len(x))
            buckets = distance_buckets(config)[places - places[:, None] + config.max_tokens - 1]
            scores = scores + self._weights[config.family.relative][buckets].transpose(2, 0, 1)
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares = shares / shares.sum(axis=-1, keepdims=True)
        found: F32 = (shares @ v).transpose(1, 0, 2).reshape(len(x), -1)
        return found

    def _linear(self, x: F32, name: str) -> F32:
        found: F32 = x @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]
        return found

    def _norm(self, x: F32, name: str) -> F32:
        eps = self.config.norm_eps
        return layer_norm(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"], eps)
