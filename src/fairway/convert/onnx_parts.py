"""Pieces of an ONNX graph that decoders and encoders share."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from fairway.convert.onnx_graph import Drawing
from fairway.kernels.program import Activation

HIDDEN = float(np.finfo(np.float32).min)
"""The score of a token that is not seen."""


def activated(graph: Drawing, x: str, activation: Activation | Literal["tanh"]) -> str:
    """x through an activation, value by value."""
    add, number = graph.add, graph.constant
    match activation:
        case "tanh":
            return add("Tanh", x)
        case "relu":
            return add("Relu", x)
        case "silu":
            return add("Mul", x, add("Sigmoid", x))
        case "gelu":
            inner = add("Erf", add("Mul", x, number(math.sqrt(0.5))))
        case "gelu_tanh":
            cube = add("Mul", add("Mul", add("Mul", x, x), x), number(0.044715))
            inner = add("Tanh", add("Mul", add("Add", x, cube), number(math.sqrt(2 / math.pi))))
    return add("Mul", add("Mul", x, number(0.5)), add("Add", inner, number(1.0)))
