"""What a Keras layer works with while it becomes nodes: values with their shapes, settings and weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fairway.convert.onnx_graph import GraphBuilder
from fairway.errors import FormatError, UnsupportedError
from fairway.formats.bundle import TensorInfo
from fairway.formats.floats import FLOATS
from fairway.formats.onnx_schema import NUMBERS

Shape = tuple[int | None, ...]


MOST = 1 << 31
"""No size, and no setting, is that large."""


def are_whole(values: list[Any], least: int) -> bool:
    """Whether all are whole numbers of a sensible size."""
    return all(type(each) is int and least <= each < MOST for each in values)


@dataclass(frozen=True)
class Value:
    """A value of the graph; None is a size that is known when it runs."""

    name: str
    shape: Shape
    is_whole: bool = False
    """Whole numbers, such as tokens."""


@dataclass(frozen=True)
class Layer:
    """One layer of the config, and where its numbers lie."""

    kind: str
    name: str
    config: Mapping[str, Any]
    place: str
    row: Mapping[str, Any]

    def numbers(self, key: str, count: int) -> list[int]:
        """A setting of `count` whole numbers, which may be written as one."""
        value = self.config.get(key, 1)
        found = [value] * count if isinstance(value, int) else value
        if not isinstance(found, list) or len(found) != count or not are_whole(found, least=1):
            raise self.wrong(key)
        return found

    def number(self, key: str, default: float) -> float:
        value = self.config.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not -MOST < value < MOST:
            raise self.wrong(key)
        return float(value)

    def wrong(self, key: str) -> UnsupportedError:
        shown = repr(self.config.get(key))[:60]
        return UnsupportedError(f"{key} = {shown} of layer {self.name[:60]!r} is not converted.")


@dataclass
class Net:
    """The graph in the making, and the weights that it reads."""

    graph: GraphBuilder
    tensors: Mapping[str, TensorInfo]
    read: dict[str, None] = field(default_factory=dict)

    def weight(self, layer: Layer, number: int, rank: int) -> str:
        """The layer's weight of that number, float32."""
        name = f"{layer.place}/vars/{number}"
        info = self.tensors.get(name)
        if info is None or len(info.shape) != rank:
            found = "missing" if info is None else f"of shape {info.shape}"
            raise FormatError(f"Weight {number} of layer {layer.name[:60]!r} is {found} ({name[:120]}).")
        if info.type not in FLOATS:
            raise UnsupportedError(
                f"Layer {layer.name[:60]!r} has weights of {info.type}, which are not converted."
            )
        self.read[name] = None
        return name if info.type == "F32" else self.cast(name, "F32")

    def shape(self, layer: Layer, number: int) -> tuple[int, ...]:
        """Of a weight that was read."""
        return self.tensors[f"{layer.place}/vars/{number}"].shape

    def cast(self, name: str, kind: str) -> str:
        return self.graph.add("Cast", name, to=NUMBERS[kind])

    def floats(self, value: Value) -> Value:
        return Value(self.cast(value.name, "F32"), value.shape) if value.is_whole else value


def one(net: Net, layer: Layer, inputs: list[Value]) -> Value:
    if len(inputs) != 1:
        raise FormatError(f"Layer {layer.name[:60]!r} reads {len(inputs)} values, and takes one.")
    return net.floats(inputs[0])


def axis_of(layer: Layer, x: Value) -> int:
    """The one axis that a norm is about, counted from the front."""
    axis = layer.config.get("axis", -1)
    axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    if type(axis) is not int or not -len(x.shape) <= axis < len(x.shape):
        raise layer.wrong("axis")
    return axis % len(x.shape)
