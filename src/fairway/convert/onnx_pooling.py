"""Pooling as part of an ONNX graph: tokens' vectors [batch, sequence, width] become one for each text.

As sentence-transformers computes it, padding on either side. Reads the graph's input `attention_mask`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fairway.convert.onnx_graph import GraphBuilder
from fairway.convert.onnx_parts import HIDDEN
from fairway.errors import UnsupportedError
from fairway.formats.onnx_schema import NUMBERS
from fairway.formats.pooling import Pooling

LEAST_COUNT, LEAST_LENGTH = 1e-9, 1e-12
"""What a number of tokens and a vector's length are at least when they divide."""
FAR = float(np.finfo(np.float32).max)


def add_pooling(graph: GraphBuilder, states: str, pooling: Pooling) -> str:
    """[batch, width], or as many times the width as kinds are joined."""
    pools = _Pools(graph)
    found = [pools.pool(states, kind) for kind in pooling.kind.split("+")]
    vector = found[0] if len(found) == 1 else graph.add("Concat", *found, axis=-1)
    if not pooling.normalize:
        return vector
    square = pools.sum(graph.add("Mul", vector, vector), -1, keep=True)
    length = graph.add("Max", graph.add("Sqrt", square), graph.constant(LEAST_LENGTH))
    return graph.add("Div", vector, length)


@dataclass(frozen=True)
class _Pools:
    graph: GraphBuilder

    def pool(self, states: str, kind: str) -> str:
        """[batch, width] of one kind."""
        add, number = self.graph.add, self.graph.constant
        if kind == "max":
            seen = add("Where", add("Unsqueeze", self._is_real(), number([2])), states, number(HIDDEN))
            return add("ReduceMax", seen, axes=[1], keepdims=0)
        weights = self._shares(kind)
        total = self.sum(add("Mul", states, add("Unsqueeze", weights, number([2]))), 1)
        if kind in ("cls", "last"):
            return total
        count = add("Max", self.sum(weights, 1, keep=True), number(LEAST_COUNT))
        return add("Div", total, add("Sqrt", count) if kind == "mean_sqrt" else count)

    def sum(self, x: str, axis: int, *, keep: bool = False) -> str:
        return self.graph.add("ReduceSum", x, self.graph.constant([axis]), keepdims=int(keep))

    def _shares(self, kind: str) -> str:
        """How much each token counts, float32 [batch, sequence]."""
        add, number = self.graph.add, self.graph.constant
        real = add("Cast", "attention_mask", to=NUMBERS["F32"])
        if kind in ("mean", "mean_sqrt"):
            return real
        length = add("Gather", add("Shape", "attention_mask"), number(1))
        places = add("Cast", add("Range", number(0), length, number(1)), to=NUMBERS["F32"])
        if kind == "last":
            last = add("ReduceMax", add("Mul", places, real), axes=[1], keepdims=1)
            return add("Cast", add("Equal", places, last), to=NUMBERS["F32"])
        first = add("Where", self._is_real(), places, number(FAR))
        first = add("ReduceMin", first, axes=[1], keepdims=1)
        if kind == "cls":
            return add("Cast", add("Equal", places, first), to=NUMBERS["F32"])
        if kind == "weighted_mean":
            return add("Mul", add("Add", add("Sub", places, first), number(1.0)), real)
        raise UnsupportedError(f"Pooling {kind!r} is not written; mean, cls, last and max are.")

    def _is_real(self) -> str:
        return self.graph.add("Cast", "attention_mask", to=NUMBERS["BOOL"])
