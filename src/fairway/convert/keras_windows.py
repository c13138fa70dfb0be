"""Keras's layers that slide a window over an image or a sequence, and what pads them, as ONNX nodes.

Images have their channels last in Keras and first in ONNX: convolution and pooling turn them round, and back.
https://keras.io/api/layers/convolution_layers/
"""

from __future__ import annotations

from typing import Any

from fairway.convert.keras_activations import own_activation
from fairway.convert.keras_values import Layer, Net, Shape, Value, are_whole, one
from fairway.convert.onnx_parts import HIDDEN


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


def conv(net: Net, layer: Layer, inputs: list[Value], dims: int) -> Value:
    """Kernels are [size, ..., channels in, channels out]."""
    x = _channels_first(net, layer, one(net, layer, inputs))
    kernel = net.weight(layer, 0, dims + 2)
    shape, groups = net.shape(layer, 0), layer.numbers("groups", 1)[0]
    kernel = net.graph.add("Transpose", kernel, perm=[dims + 1, dims, *range(dims)])
    out = _convolved(net, layer, x, kernel, list(shape[:dims]), shape[-1], groups)
    return own_activation(net, layer, _biased(net, layer, _channels_back(net, layer, out), 1))


def _by_channel(net: Net, layer: Layer, x: Value, dims: int) -> Value:
    """A kernel for each channel: [size, ..., channels in, how many each gives]."""
    kernel = net.weight(layer, 0, dims + 2)
    *sizes, channels, times = net.shape(layer, 0)
    kernel = net.graph.add("Transpose", kernel, perm=[dims, dims + 1, *range(dims)])
    kernel = net.graph.add("Reshape", kernel, net.graph.constant([channels * times, 1, *sizes]))
    return _convolved(net, layer, x, kernel, sizes, channels * times, channels)


def depthwise(net: Net, layer: Layer, inputs: list[Value], dims: int) -> Value:
    x = _channels_first(net, layer, one(net, layer, inputs))
    out = _channels_back(net, layer, _by_channel(net, layer, x, dims))
    return own_activation(net, layer, _biased(net, layer, out, 1))


def separable(net: Net, layer: Layer, inputs: list[Value], dims: int) -> Value:
    x = _channels_first(net, layer, one(net, layer, inputs))
    x = _channels_back(net, layer, _by_channel(net, layer, x, dims))
    point = net.weight(layer, 1, dims + 2)
    if layer.config.get("data_format", "channels_last") == "channels_first":
        raise layer.wrong("data_format")
    *_, channels, given = net.shape(layer, 1)
    point = net.graph.add("Reshape", point, net.graph.constant([channels, given]))
    out = Value(net.graph.add("MatMul", x.name, point), (*x.shape[:-1], given))
    return own_activation(net, layer, _biased(net, layer, out, 2))


def pool(net: Net, layer: Layer, inputs: list[Value], op: str, dims: int) -> Value:
    x = _channels_first(net, layer, _apart(net, one(net, layer, inputs)))
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


def global_pool(net: Net, layer: Layer, inputs: list[Value], op: str) -> Value:
    x = one(net, layer, inputs)
    is_first = layer.config.get("data_format") == "channels_first"
    axes = list(range(2, len(x.shape))) if is_first else list(range(1, len(x.shape) - 1))
    keep = bool(layer.config.get("keepdims", False))
    out = net.graph.add(op, x.name, axes=axes, keepdims=int(keep))
    kept = [1 if axis in axes else size for axis, size in enumerate(x.shape) if keep or axis not in axes]
    return Value(out, tuple(kept))


def padded(net: Net, layer: Layer, inputs: list[Value], dims: int) -> Value:
    """[[top, bottom], [left, right]], or [left, right] of one dimension."""
    x, value = one(net, layer, inputs), layer.config.get("padding", 1)
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
