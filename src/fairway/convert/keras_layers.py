"""Keras's layers as ONNX nodes, each by its class: what `LAYERS` does not name is not converted.

Weights stay as Keras stores them and are turned by nodes, which runtimes fold away.
https://keras.io/api/layers/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod
from typing import TypeAlias

from fairway.convert.keras_activations import activation, elu, leaky_relu, own_activation, relu, softmax
from fairway.convert.keras_values import Layer, Net, Value, are_whole, axis_of, one
from fairway.convert.keras_windows import conv, depthwise, global_pool, padded, pool, separable
from fairway.errors import FormatError

Make: TypeAlias = Callable[[Net, Layer, list[Value]], Value]


def _dense(net: Net, layer: Layer, inputs: list[Value]) -> Value:
    x = one(net, layer, inputs)
    out = net.graph.add("MatMul", x.name, net.weight(layer, 0, 2))
    if x.shape[-1] not in (None, net.shape(layer, 0)[0]):
        raise FormatError(f"Weight 0 of layer {layer.name[:60]!r} does not fit what it reads, {x.shape}.")
    if layer.config.get("use_bias", True):
        out = net.graph.add("Add", out, net.weight(layer, 1, 1))
    return own_activation(net, layer, Value(out, (*x.shape[:-1], net.shape(layer, 0)[1])))


def _batch_norm(net: Net, layer: Layer, inputs: list[Value]) -> Value:
    """Weights are gamma and beta, where there are any, and the mean and variance of the training."""
    if layer.config.get("renorm"):
        raise layer.wrong("renorm")
    x, add, number = one(net, layer, inputs), net.graph.add, net.graph.constant
    later = len(x.shape) - 1 - axis_of(layer, x)
    place = [0]

    def weight() -> str:
        place[0] += 1
        found = net.weight(layer, place[0] - 1, 1)
        return add("Reshape", found, number([-1, *[1] * later])) if later else found

    gamma = weight() if layer.config.get("scale", True) else None
    beta = weight() if layer.config.get("center", True) else None
    mean, variance = weight(), weight()
    spread = add("Sqrt", add("Add", variance, number(layer.number("epsilon", 1e-3))))
    factor = add("Div", gamma or number(1.0), spread)
    out = add("Mul", add("Sub", x.name, mean), factor)
    return Value(add("Add", out, beta) if beta else out, x.shape)


def _layer_norm(net: Net, layer: Layer, inputs: list[Value]) -> Value:
    x = one(net, layer, inputs)
    if axis_of(layer, x) != len(x.shape) - 1 or layer.config.get("rms_scaling"):
        raise layer.wrong("rms_scaling" if layer.config.get("rms_scaling") else "axis")
    add, number = net.graph.add, net.graph.constant
    mean = add("ReduceMean", x.name, axes=[-1], keepdims=1)
    centred = add("Sub", x.name, mean)
    variance = add("ReduceMean", add("Mul", centred, centred), axes=[-1], keepdims=1)
    out = add("Div", centred, add("Sqrt", add("Add", variance, number(layer.number("epsilon", 1e-3)))))
    has_scale = bool(layer.config.get("scale", True))
    if has_scale:
        out = add("Mul", out, net.weight(layer, 0, 1))
    if layer.config.get("center", True):
        out = add("Add", out, net.weight(layer, int(has_scale), 1))
    return Value(out, x.shape)


def _embedding(net: Net, layer: Layer, inputs: list[Value]) -> Value:
    [x] = inputs
    if layer.config.get("mask_zero"):
        raise layer.wrong("mask_zero")
    out = net.graph.add("Gather", net.weight(layer, 0, 2), net.cast(x.name, "I64"), axis=0)
    return Value(out, (*x.shape, net.shape(layer, 0)[1]))


def _flatten(net: Net, layer: Layer, inputs: list[Value]) -> Value:
    x = one(net, layer, inputs)
    if layer.config.get("data_format") == "channels_first" and len(x.shape) > 2:
        raise layer.wrong("data_format")
    rest = x.shape[1:]
    size = None if None in rest else prod(each for each in rest if each is not None)
    return Value(net.graph.add("Flatten", x.name, axis=1), (x.shape[0], size))


def _reshape(net: Net, layer: Layer, inputs: list[Value]) -> Value:
    x = one(net, layer, inputs)
    target = layer.config.get("target_shape")
    if not isinstance(target, list) or not are_whole(target, least=-1):
        raise layer.wrong("target_shape")
    rest, known = x.shape[1:], prod(each for each in target if each > 0)
    whole = None if None in rest else prod(each for each in rest if each is not None) // max(1, known)
    out = net.graph.add("Reshape", x.name, net.graph.constant([0, *target]))
    return Value(out, (x.shape[0], *(whole if each == -1 else each for each in target)))


def _permute(net: Net, layer: Layer, inputs: list[Value]) -> Value:
    x = one(net, layer, inputs)
    order = [0, *layer.numbers("dims", len(x.shape) - 1)]
    return Value(net.graph.add("Transpose", x.name, perm=order), tuple(x.shape[axis] for axis in order))


def _merged(net: Net, layer: Layer, inputs: list[Value], op: str) -> Value:
    """Value by value."""
    values = [net.floats(each) for each in inputs]
    if len(values) < 2:
        raise FormatError(f"Layer {layer.name[:60]!r} joins {len(values)} value.")
    out, rank = values[0].name, max(len(each.shape) for each in values)
    for each in values[1:]:
        out = net.graph.add(op, out, each.name)
    shapes = [(*[1] * (rank - len(each.shape)), *each.shape) for each in values]
    return Value(out, tuple(_together(sizes) for sizes in zip(*shapes, strict=True)))


def _together(sizes: Sequence[int | None]) -> int | None:
    """Of one axis, where values of size 1 spread over the others."""
    known = [size for size in sizes if size is not None]
    return max(known) if len(known) == len(sizes) else None


def _average(net: Net, layer: Layer, inputs: list[Value]) -> Value:
    total = _merged(net, layer, inputs, "Add")
    return Value(net.graph.add("Div", total.name, net.graph.constant(float(len(inputs)))), total.shape)


def _concatenated(net: Net, layer: Layer, inputs: list[Value]) -> Value:
    values = [net.floats(each) for each in inputs]
    axis = axis_of(layer, values[0])
    out = net.graph.add("Concat", *(each.name for each in values), axis=axis)
    sizes = [each.shape[axis] for each in values]
    whole = None if None in sizes else sum(size for size in sizes if size is not None)
    shape = values[0].shape
    return Value(out, (*shape[:axis], whole, *shape[axis + 1 :]))


def _rescaling(net: Net, layer: Layer, inputs: list[Value]) -> Value:
    x, add, number = one(net, layer, inputs), net.graph.add, net.graph.constant
    scaled = add("Mul", x.name, number(layer.number("scale", 1.0)))
    return Value(add("Add", scaled, number(layer.number("offset", 0.0))), x.shape)


def _unchanged(net: Net, layer: Layer, inputs: list[Value]) -> Value:
    """What only training does."""
    return one(net, layer, inputs)


LAYERS: Mapping[str, Make] = {
    "Dense": _dense,
    "Conv1D": partial(conv, dims=1),
    "Conv2D": partial(conv, dims=2),
    "DepthwiseConv1D": partial(depthwise, dims=1),
    "DepthwiseConv2D": partial(depthwise, dims=2),
    "SeparableConv2D": partial(separable, dims=2),
    "MaxPooling1D": partial(pool, op="MaxPool", dims=1),
    "MaxPooling2D": partial(pool, op="MaxPool", dims=2),
    "AveragePooling1D": partial(pool, op="AveragePool", dims=1),
    "AveragePooling2D": partial(pool, op="AveragePool", dims=2),
    "GlobalMaxPooling1D": partial(global_pool, op="ReduceMax"),
    "GlobalMaxPooling2D": partial(global_pool, op="ReduceMax"),
    "GlobalAveragePooling1D": partial(global_pool, op="ReduceMean"),
    "GlobalAveragePooling2D": partial(global_pool, op="ReduceMean"),
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "Embedding": _embedding,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Permute": _permute,
    "ZeroPadding1D": partial(padded, dims=1),
    "ZeroPadding2D": partial(padded, dims=2),
    "Add": partial(_merged, op="Add"),
    "Subtract": partial(_merged, op="Sub"),
    "Multiply": partial(_merged, op="Mul"),
    "Maximum": partial(_merged, op="Max"),
    "Minimum": partial(_merged, op="Min"),
    "Average": _average,
    "Concatenate": _concatenated,
    "Softmax": softmax,
    "ReLU": relu,
    "LeakyReLU": leaky_relu,
    "ELU": elu,
    "Rescaling": _rescaling,
    "Activation": activation,
    **dict.fromkeys(
        (
            "Dropout", "SpatialDropout1D", "SpatialDropout2D", "AlphaDropout", "GaussianDropout",
            "GaussianNoise", "ActivityRegularization",
        ),
        _unchanged,
    ),
}  # fmt: skip
"""Class -> what it becomes."""
