"""An encoder as an ONNX graph: hidden states, pooled vectors or classes of a padded batch.

Activations are float32 [batch, sequence, width]. What comes out follows the bundle: `last_hidden_state`, with
`sentence_embedding` [batch, width] where it says how to pool; `logits` where it ends in classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from fairway.convert.onnx_graph import GraphBuilder
from fairway.convert.onnx_parts import HIDDEN, activated
from fairway.convert.onnx_pooling import add_pooling
from fairway.formats.bundle import TensorInfo
from fairway.formats.onnx_schema import NUMBERS
from fairway.formats.pooling import Pooling
from fairway.models.encoders import EncoderConfig, distance_buckets

BATCH, SEQUENCE = "batch_size", "sequence_length"


def encoder_graph(
    config: EncoderConfig,
    weights: Mapping[str, TensorInfo],
    types: Mapping[str, str],
    pooling: Pooling | None,
) -> GraphBuilder:
    """`weights` as stored, by the family's names; `types` what each is written as, by its stored name."""
    encoder = _Encoder(config, weights, types)
    states = encoder.states()
    if config.head != "states":
        encoder.classes(states)
    elif pooling is not None:
        encoder.pooled(states, pooling)
    return encoder.graph


class _Encoder:
    """One graph in the making."""

    def __init__(
        self, config: EncoderConfig, weights: Mapping[str, TensorInfo], types: Mapping[str, str]
    ) -> None:
        self.graph = GraphBuilder()
        self._config, self._weights, self._types = config, weights, types
        for name in ("input_ids", "attention_mask", *(["token_type_ids"] if self._takes_types else [])):
            self.graph.input(name, "I64", (BATCH, SEQUENCE))
        number, add = self.graph.constant, self.graph.add
        self._length = add("Gather", add("Shape", "input_ids"), number(1))
        self._places = add("Range", number(0), self._length, number(1))
        self._is_real = add("Cast", "attention_mask", to=NUMBERS["BOOL"])

    @property
    def _takes_types(self) -> bool:
        return self._config.num_types > 1

    def states(self) -> str:
        """All layers. [batch, sequence, width]."""
        config, add = self._config, self.graph.add
        table = "embeddings.word_embeddings.weight"
        x = add("Gather", self._weight(table), "input_ids", axis=0)
        if config.num_types:
            types = self._weight("embeddings.token_type_embeddings.weight")
            which = "token_type_ids" if self._takes_types else self.graph.constant([0])
            x = add("Add", x, add("Gather", types, which, axis=0))
        places = self._weight("embeddings.position_embeddings.weight")
        x = add("Add", x, add("Gather", places, self._positions(), axis=0))
        is_output = config.head == "states"
        x = self._norm(x, "embeddings.LayerNorm")
        nearness = self._nearness() if config.family.relative else None
        names = config.family.names
        for number in range(config.num_layers):
            layer = f"{config.family.layer}.{number}."
            attended = self._linear(self._attention(x, layer, nearness), layer + names.out)
            x = self._norm(add("Add", attended, x), layer + names.attention_norm)
            inner = activated(self.graph, self._linear(x, layer + names.up), config.activation)
            is_last = is_output and number == config.num_layers - 1
            out = "last_hidden_state" if is_last else None
            x = add("Add", self._linear(inner, layer + names.down), x)
            x = self._norm(x, layer + names.output_norm, out)
        if is_output:
            self.graph.output("last_hidden_state", "F32", (BATCH, SEQUENCE, config.width))
        return x

    def classes(self, states: str) -> None:
        """`logits`: [batch, classes] of the first token's state, or [batch, sequence, classes] of all."""
        config = self._config
        if config.head == "text":
            states = self.graph.add("Gather", states, self.graph.constant(0), axis=1)
            states = self._linear(states, config.family.dense)
            states = activated(self.graph, states, config.family.dense_activation)
        num_classes = self._weights[f"{config.classes}.weight"].shape[0]
        self._linear(states, config.classes, "logits")
        sizes = (BATCH, num_classes) if config.head == "text" else (BATCH, SEQUENCE, num_classes)
        self.graph.output("logits", "F32", sizes)

    def pooled(self, states: str, pooling: Pooling) -> None:
        """`sentence_embedding`, of the tokens that are no padding."""
        self.graph.rename(add_pooling(self.graph, states, pooling), "sentence_embedding")
        width = self._config.width * len(pooling.kind.split("+"))
        self.graph.output("sentence_embedding", "F32", (BATCH, width))

    def _weight(self, name: str) -> str:
        """In float32, whatever it is stored as."""
        stored = self._weights[name].name
        if self._types[stored] == "F32":
            return stored
        return self.graph.add("Cast", stored, to=NUMBERS["F32"])

    def _linear(self, x: str, name: str, out: str | None = None) -> str:
        turned = self.graph.add("Transpose", self._weight(f"{name}.weight"), perm=[1, 0])
        product = self.graph.add("MatMul", x, turned)
        return self.graph.add("Add", product, self._weight(f"{name}.bias"), out=out)

    def _norm(self, x: str, name: str, out: str | None = None) -> str:
        weights = self._weight(f"{name}.weight"), self._weight(f"{name}.bias")
        eps = float(self._config.norm_eps)
        return self.graph.add("LayerNormalization", x, *weights, out=out, axis=-1, epsilon=eps)

    def _positions(self) -> str:
        """[sequence], or [batch, sequence] where padding does not count."""
        if not self._config.family.counts_from_padding:
            return self._places
        add, padding = self.graph.add, self.graph.constant(self._config.padding_id)
        real = add("Cast", add("Not", add("Equal", "input_ids", padding)), to=NUMBERS["I64"])
        counted = add("Mul", add("CumSum", real, self.graph.constant(1)), real)
        return add("Add", counted, padding)

    def _attention(self, x: str, layer: str, nearness: str | None) -> str:
        """Scores are [batch, heads, sequence, sequence]."""
        config, add, number = self._config, self.graph.add, self.graph.constant
        names, heads = config.family.names, number([0, 0, config.num_heads, config.head_size])
        q, k, v = (
            add("Reshape", self._linear(x, layer + name), heads)
            for name in (names.query, names.key, names.value)
        )
        q = add("Transpose", add("Mul", q, number(1 / math.sqrt(config.head_size))), perm=[0, 2, 1, 3])
        scores = add("MatMul", q, add("Transpose", k, perm=[0, 2, 3, 1]))
        if nearness is not None:
            scores = add("Add", scores, nearness)
        real = add("Unsqueeze", self._is_real, number([1, 2]))
        weights = add("Softmax", add("Where", real, scores, number(HIDDEN)), axis=-1)
        out = add("MatMul", weights, add("Transpose", v, perm=[0, 2, 1, 3]))
        return add("Reshape", add("Transpose", out, perm=[0, 2, 1, 3]), number([0, 0, config.width]))

    def _nearness(self) -> str:
        """What the distance of two tokens adds to their score, [heads, sequence, sequence]."""
        add, number, config = self.graph.add, self.graph.constant, self._config
        buckets = number(distance_buckets(config))
        rows = add("Unsqueeze", self._places, number([1]))
        distance = add("Add", add("Sub", self._places, rows), number(config.max_tokens - 1))
        which = add("Gather", buckets, distance, axis=0)
        added = add("Gather", self._weight(config.family.relative), which, axis=0)
        return add("Transpose", added, perm=[2, 0, 1])
