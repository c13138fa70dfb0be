"""Keras's activation functions as ONNX nodes, also those that are layers of their own.

https://keras.io/api/layers/activations/
"""

from __future__ import annotations

from typing import Any

from fairway.convert.keras_values import Layer, Net, Value, axis_of, one

ACTIVATIONS = {
    "relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "softplus": "Softplus", "softsign": "Softsign",
    "exponential": "Exp", "selu": "Selu", "elu": "Elu", "log_softmax": "LogSoftmax", "softmax": "Softmax",
}  # fmt: skip
"""Keras's name -> ONNX's operator, where one says the same with its own defaults."""


def activated(net: Net, layer: Layer, x: Value, name: object) -> Value:
    """Raises `UnsupportedError` for a function that is not named here, a custom one above all."""
    add, number = net.graph.add, net.graph.constant
    if name in (None, "linear"):
        return x
    if name in ("silu", "swish"):
        out = add("Mul", x.name, add("Sigmoid", x.name))
    elif name == "relu6":
        out = add("Clip", x.name, number(0.0), number(6.0))
    elif name == "leaky_relu":
        out = add("LeakyRelu", x.name, alpha=0.2)
    elif name == "hard_sigmoid":
        out = add("HardSigmoid", x.name, alpha=1 / 6, beta=0.5)
    elif name in ("hard_silu", "hard_swish"):
        out = add("Mul", x.name, add("HardSigmoid", x.name, alpha=1 / 6, beta=0.5))
    elif name == "gelu":
        inner = add("Add", add("Erf", add("Mul", x.name, number(0.5**0.5))), number(1.0))
        out = add("Mul", add("Mul", x.name, number(0.5)), inner)
    elif name == "mish":
        out = add("Mul", x.name, add("Tanh", add("Softplus", x.name)))
    elif isinstance(name, str) and name in ACTIVATIONS:
        axis: dict[str, Any] = {"axis": -1} if "softmax" in name else {}
        out = add(ACTIVATIONS[name], x.name, **axis)
    else:
        raise layer.wrong("activation")
    return Value(out, x.shape)


def own_activation(net: Net, layer: Layer, x: Value) -> Value:
    return activated(net, layer, x, layer.config.get("activation"))


def activation(net: Net, layer: Layer, inputs: list[Value]) -> Value:
    return own_activation(net, layer, one(net, layer, inputs))


def softmax(net: Net, layer: Layer, inputs: list[Value]) -> Value:
    x = one(net, layer, inputs)
    return Value(net.graph.add("Softmax", x.name, axis=axis_of(layer, x)), x.shape)


def relu(net: Net, layer: Layer, inputs: list[Value]) -> Value:
    """With its slope, its threshold at zero only, and its largest value."""
    x, slope, most = (
        one(net, layer, inputs),
        layer.number("negative_slope", 0.0),
        layer.config.get("max_value"),
    )
    if layer.number("threshold", 0.0) != 0:
        raise layer.wrong("threshold")
    out = net.graph.add("LeakyRelu", x.name, alpha=slope) if slope else net.graph.add("Relu", x.name)
    if most is not None:
        out = net.graph.add("Min", out, net.graph.constant(layer.number("max_value", 0.0)))
    return Value(out, x.shape)


def leaky_relu(net: Net, layer: Layer, inputs: list[Value]) -> Value:
    x = one(net, layer, inputs)
    return Value(net.graph.add("LeakyRelu", x.name, alpha=layer.number("negative_slope", 0.3)), x.shape)


def elu(net: Net, layer: Layer, inputs: list[Value]) -> Value:
    x = one(net, layer, inputs)
    return Value(net.graph.add("Elu", x.name, alpha=layer.number("alpha", 1.0)), x.shape)
