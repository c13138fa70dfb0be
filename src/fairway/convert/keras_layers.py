"""Keras's layers as ONNX nodes, each by its class: what `LAYERS` does not name is not converted.

Weights stay as Keras stores them and are turned by nodes, which runtimes fold away. Images have their
channels last in Keras and first in ONNX: convolution and pooling turn them round, and back.
https://keras.io/api/layers/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod
from typing import Any, TypeAlias

from fairway.convert.keras_values import Layer, Net, Shape, Value, are_whole
from fairway.convert.onnx_parts import HIDDEN
from fairway.errors import FormatError

Make: TypeAlias = Callable[[Net, Layer, list[Value]], Value]


def _one(net: Net, layer: Layer, inputs: list[Value]) -> Value:
    if len(inputs) != 1:
        raise FormatError(f"Layer {layer.name[:60]!r} reads {len(inputs)} values, and takes one.")
    return net.floats(inputs[0])


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


def _own_activation(net: Net, layer: Layer, x: Value) -> Value:
    return activated(net, layer, x, layer.config.get("activation"))


def _dense(net: Net, layer: Layer, inputs: list[Value]) -> Value:
    x = _one(net, layer, inputs)
    out = net.graph.add("MatMul", x.name, net.weight(layer, 0, 2))
    if x.shape[-1] not in (None, net.shape(layer, 0)[0]):
        raise FormatError(f"Weight 0 of layer {layer.name[:60]!r} does not fit what it reads, {x.shape}.")
    if layer.config.get("use_bias", True):
        out = net.graph.add("Add", out, net.weight(layer, 1, 1))
    return _own_activation(net, layer, Value(out, (*x.shape[:-1], net.shape(layer, 0)[1])))


def _channels_first(net: Net, layer: Layer, x: Value) -> Value:
    if layer.config.get("data_format", "channels_last") == "channels_first":
        return x
    order = [0, len(x.shape) - 1, *range(1, len(x.shape) - 1)]
    shape = tuple(x.shape[axis] for axis in order)
    return Value(net.graph.add("Transpose", x.name, perm=order), shape)


def _channels_back(net: Net, layer: Layer, x: Value) -> Value:
    if layer.config.get("data_format", "channels_last") == "channels_first":
        return x
    order = [0, *range(2, len(x.shape)), 1]
    shape = tuple(x.shape[axis] for axis in order)
    return Value(net.graph.add("Transpose", x.name, perm=order), shape)


def _window(
    layer: Layer, sizes: Shape, kernel: list[int], strides: list[int], dilations: list[int]
) -> tuple[dict[str, Any], Shape]:
    """Attributes of the padding, and what the sizes become."""
    reach = [rate * (size - 1) + 1 for size, rate in zip(kernel, dilations, strict=True)]
    padding = layer.config.get("padding", "valid")
    if padding == "valid":
        spread = zip(sizes, reach, strides, strict=True)
        return {}, tuple(None if n is None else (n - r) // s + 1 for n, r, s in spread)
    if padding == "causal" and len(kernel) == 1:
        [size] = sizes
        left = None if size is None else (size - 1) // strides[0] + 1
        return {"pads": [reach[0] - 1, 0]}, (left,)
    if padding != "same":
        raise layer.wrong("padding")
    found = tuple(None if n is None else -(-n // s) for n, s in zip(sizes, strides, strict=True))
    pads = []
    for size, out, extent, stride in zip(sizes, found, reach, strides, strict=True):
        if size is None and stride > 1:
            return {"auto_pad": "SAME_UPPER"}, found
        steps = 0 if size is None or out is None else (out - 1) * stride - size
        pads.append(max(steps + extent, 0) if size is not None else extent - 1)
    begins = [each // 2 for each in pads]
    return {"pads": [*begins, *(total - first for total, first in zip(pads, begins, strict=True))]}, found


def _convolved(
    net: Net, layer: Layer, x: Value, kernel: str, kernel_size: list[int], channels: int, groups: int
) -> Value:
    """`x` and `kernel` with channels first."""
    dims = len(kernel_size)
    strides, dilations = layer.numbers("strides", dims), layer.numbers("dilation_rate", dims)
    pads, sizes = _window(layer, x.shape[2:], kernel_size, strides, dilations)
    out = net.graph.add("Conv", x.name, kernel, strides=strides, dilations=dilations, group=groups, **pads)
    return Value(out, (x.shape[0], channels, *sizes))


def _biased(net: Net, layer: Layer, x: Value, number: int) -> Value:
    """`x` with channels where Keras has them."""
    if not layer.config.get("use_bias", True):
        return x
    bias = net.weight(layer, number, 1)
    if layer.config.get("data_format", "channels_last") == "channels_first":
        bias = net.graph.add("Reshape", bias, net.graph.constant([-1, *[1] * (len(x.shape) - 2)]))
    return Value(net.graph.add("Add", x.name, bias), x.shape)


def _conv(net: Net, layer: Layer, inputs: list[Value], dims: int) -> Value:
    """Kernels are [size, ..., channels in, channels out]."""
    x = _channels_first(net, layer, _one(net, layer, inputs))
    kernel = net.weight(layer, 0, dims + 2)
    shape, groups = net.shape(layer, 0), layer.numbers("groups", 1)[0]
    kernel = net.graph.add("Transpose", kernel, perm=[dims + 1, dims, *range(dims)])
    out = _convolved(net, layer, x, kernel, list(shape[:dims]), shape[-1], groups)
    return _own_activation(net, layer, _biased(net, layer, _channels_back(net, layer, out), 1))


def _by_channel(net: Net, layer: Layer, x: Value, dims: int) -> Value:
    """A kernel for each channel: [size, ..., channels in, how many each gives]."""
    kernel = net.weight(layer, 0, dims + 2)
    *sizes, channels, times = net.shape(layer, 0)
    kernel = net.graph.add("Transpose", kernel, perm=[dims, dims + 1, *range(dims)])
    kernel = net.graph.add("Reshape", kernel, net.graph.constant([channels * times, 1, *sizes]))
    return _convolved(net, layer, x, kernel, sizes, channels * times, channels)


def _depthwise(net: Net, layer: Layer, inputs: list[Value], dims: int) -> Value:
    x = _channels_first(net, layer, _one(net, layer, inputs))
    out = _channels_back(net, layer, _by_channel(net, layer, x, dims))
    return _own_activation(net, layer, _biased(net, layer, out, 1))


def _separable(net: Net, layer: Layer, inputs: list[Value], dims: int) -> Value:
    x = _channels_first(net, layer, _one(net, layer, inputs))
    x = _channels_back(net, layer, _by_channel(net, layer, x, dims))
    point = net.weight(layer, 1, dims + 2)
    if layer.config.get("data_format", "channels_last") == "channels_first":
        raise layer.wrong("data_format")
    *_, channels, given = net.shape(layer, 1)
    point = net.graph.add("Reshape", point, net.graph.constant([channels, given]))
    out = Value(net.graph.add("MatMul", x.name, point), (*x.shape[:-1], given))
    return _own_activation(net, layer, _biased(net, layer, out, 2))


def _pool(net: Net, layer: Layer, inputs: list[Value], op: str, dims: int) -> Value:
    x = _channels_first(net, layer, _apart(net, _one(net, layer, inputs)))
    size = layer.numbers("pool_size", dims)
    strides = size if layer.config.get("strides") is None else layer.numbers("strides", dims)
    pads, sizes = _window(layer, x.shape[2:], size, strides, [1] * dims)
    out = net.graph.add(op, x.name, kernel_shape=size, strides=strides, **pads)
    return _channels_back(net, layer, Value(out, (*x.shape[:2], *sizes)))


def _apart(net: Net, x: Value) -> Value:
    """ONNX Runtime 1.31 draws zeros around an image into the pooling, where they count as nothing: a step
    between the two, which changes no number, keeps them apart.
    """
    if not any(node["op"] == "Pad" and node["outputs"] == [x.name] for node in net.graph.nodes):
        return x
    return Value(net.graph.add("Max", x.name, net.graph.constant(HIDDEN)), x.shape)


def _global_pool(net: Net, layer: Layer, inputs: list[Value], op: str) -> Value:
    x = _one(net, layer, inputs)
    is_first = layer.config.get("data_format") == "channels_first"
    axes = list(range(2, len(x.shape))) if is_first else list(range(1, len(x.shape) - 1))
    keep = bool(layer.config.get("keepdims", False))
    out = net.graph.add(op, x.name, axes=axes, keepdims=int(keep))
    kept = [1 if axis in axes else size for axis, size in enumerate(x.shape) if keep or axis not in axes]
    return Value(out, tuple(kept))


def _axis(layer: Layer, x: Value) -> int:
    """The one axis that a norm is about, counted from the front."""
    axis = layer.config.get("axis", -1)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if type(axis) is not int or not -len(x.shape) <= axis < len(x.shape):
        raise layer.wrong("axis")
    return axis % len(x.shape)


def _batch_norm(net: Net, layer: Layer, inputs: list[Value]) -> Value:
    """Weights are gamma and beta, where there are any, and the mean and variance of the training."""
    if layer.config.get("renorm"):
        raise layer.wrong("renorm")
    x, add, number = _one(net, layer, inputs), net.graph.add, net.graph.constant
    later = len(x.shape) - 1 - _axis(layer, x)
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
    x = _one(net, layer, inputs)
    if _axis(layer, x) != len(x.shape) - 1 or layer.config.get("rms_scaling"):
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
    x = _one(net, layer, inputs)
    if layer.config.get("data_format") == "channels_first" and len(x.shape) > 2:
        raise layer.wrong("data_format")
    rest = x.shape[1:]
    size = None if None in rest else prod(each for each in rest if each is not None)
    return Value(net.graph.add("Flatten", x.name, axis=1), (x.shape[0], size))


def _reshape(net: Net, layer: Layer, inputs: list[Value]) -> Value:
    x = _one(net, layer, inputs)
    target = layer.config.get("target_shape")
    if not isinstance(target, list) or not are_whole(target, least=-1):
        raise layer.wrong("target_shape")
    rest, known = x.shape[1:], prod(each for each in target if each > 0)
    whole = None if None in rest else prod(each for each in rest if each is not None) // max(1, known)
    out = net.graph.add("Reshape", x.name, net.graph.constant([0, *target]))
    return Value(out, (x.shape[0], *(whole if each == -1 else each for each in target)))


def _permute(net: Net, layer: Layer, inputs: list[Value]) -> Value:
    x = _one(net, layer, inputs)
    order = [0, *layer.numbers("dims", len(x.shape) - 1)]
    return Value(net.graph.add("Transpose", x.name, perm=order), tuple(x.shape[axis] for axis in order))


def _padded(net: Net, layer: Layer, inputs: list[Value], dims: int) -> Value:
    """[[top, bottom], [left, right]], or [left, right] of one dimension."""
    x, value = _one(net, layer, inputs), layer.config.get("padding", 1)
    value = [value] * dims if isinstance(value, int) else value
    value = [value] if dims == 1 and isinstance(value, list) and len(value) == 2 else value
    if not isinstance(value, list) or len(value) != dims:
        raise layer.wrong("padding")
    pairs = [[each, each] if isinstance(each, int) else each for each in value]
    if not all(isinstance(each, list) and len(each) == 2 and are_whole(each, least=0) for each in pairs):
        raise layer.wrong("padding")
    first = 2 if layer.config.get("data_format") == "channels_first" else 1
    around = [[0, 0]] * first + pairs + [[0, 0]] * (len(x.shape) - first - dims)
    pads = [each[0] for each in around] + [each[1] for each in around]
    out = net.graph.add("Pad", x.name, net.graph.constant(pads))
    grown = (None if n is None else n + sum(each) for n, each in zip(x.shape, around, strict=True))
    return Value(out, tuple(grown))


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
    axis = _axis(layer, values[0])
    out = net.graph.add("Concat", *(each.name for each in values), axis=axis)
    sizes = [each.shape[axis] for each in values]
    whole = None if None in sizes else sum(size for size in sizes if size is not None)
    shape = values[0].shape
    return Value(out, (*shape[:axis], whole, *shape[axis + 1 :]))


def _softmax(net: Net, layer: Layer, inputs: list[Value]) -> Value:
    x = _one(net, layer, inputs)
    return Value(net.graph.add("Softmax", x.name, axis=_axis(layer, x)), x.shape)


def _relu(net: Net, layer: Layer, inputs: list[Value]) -> Value:
    """With its slope, its threshold at zero only, and its largest value."""
    x, slope, most = (
        _one(net, layer, inputs),
        layer.number("negative_slope", 0.0),
        layer.config.get("max_value"),
    )
    if layer.number("threshold", 0.0) != 0:
        raise layer.wrong("threshold")
    out = net.graph.add("LeakyRelu", x.name, alpha=slope) if slope else net.graph.add("Relu", x.name)
    if most is not None:
        out = net.graph.add("Min", out, net.graph.constant(layer.number("max_value", 0.0)))
    return Value(out, x.shape)


def _leaky_relu(net: Net, layer: Layer, inputs: list[Value]) -> Value:
    x = _one(net, layer, inputs)
    return Value(net.graph.add("LeakyRelu", x.name, alpha=layer.number("negative_slope", 0.3)), x.shape)


def _elu(net: Net, layer: Layer, inputs: list[Value]) -> Value:
    x = _one(net, layer, inputs)
    return Value(net.graph.add("Elu", x.name, alpha=layer.number("alpha", 1.0)), x.shape)


def _rescaling(net: Net, layer: Layer, inputs: list[Value]) -> Value:
    x, add, number = _one(net, layer, inputs), net.graph.add, net.graph.constant
    scaled = add("Mul", x.name, number(layer.number("scale", 1.0)))
    return Value(add("Add", scaled, number(layer.number("offset", 0.0))), x.shape)


def _activation(net: Net, layer: Layer, inputs: list[Value]) -> Value:
    return _own_activation(net, layer, _one(net, layer, inputs))


def _unchanged(net: Net, layer: Layer, inputs: list[Value]) -> Value:
    """What only training does."""
    return _one(net, layer, inputs)


LAYERS: Mapping[str, Make] = {
    "Dense": _dense,
    "Conv1D": partial(_conv, dims=1),
    "Conv2D": partial(_conv, dims=2),
    "DepthwiseConv1D": partial(_depthwise, dims=1),
    "DepthwiseConv2D": partial(_depthwise, dims=2),
    "SeparableConv2D": partial(_separable, dims=2),
    "MaxPooling1D": partial(_pool, op="MaxPool", dims=1),
    "MaxPooling2D": partial(_pool, op="MaxPool", dims=2),
    "AveragePooling1D": partial(_pool, op="AveragePool", dims=1),
    "AveragePooling2D": partial(_pool, op="AveragePool", dims=2),
    "GlobalMaxPooling1D": partial(_global_pool, op="ReduceMax"),
    "GlobalMaxPooling2D": partial(_global_pool, op="ReduceMax"),
    "GlobalAveragePooling1D": partial(_global_pool, op="ReduceMean"),
    "GlobalAveragePooling2D": partial(_global_pool, op="ReduceMean"),
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "Embedding": _embedding,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Permute": _permute,
    "ZeroPadding1D": partial(_padded, dims=1),
    "ZeroPadding2D": partial(_padded, dims=2),
    "Add": partial(_merged, op="Add"),
    "Subtract": partial(_merged, op="Sub"),
    "Multiply": partial(_merged, op="Mul"),
    "Maximum": partial(_merged, op="Max"),
    "Minimum": partial(_merged, op="Min"),
    "Average": _average,
    "Concatenate": _concatenated,
    "Softmax": _softmax,
    "ReLU": _relu,
    "LeakyReLU": _leaky_relu,
    "ELU": _elu,
    "Rescaling": _rescaling,
    "Activation": _activation,
    **dict.fromkeys(
        (
            "Dropout", "SpatialDropout1D", "SpatialDropout2D", "AlphaDropout", "GaussianDropout",
            "GaussianNoise", "ActivityRegularization",
        ),
        _unchanged,
    ),
}  # fmt: skip
"""Class -> what it becomes."""
