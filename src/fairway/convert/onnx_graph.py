"""An ONNX graph in the making: nodes one after the other, small constants inside, weights beside.

Knows no model. The rule: every value has one name and one maker, so the nodes' order is one they can run in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from fairway import __version__
from fairway.formats.layout import Layout, Sized
from fairway.formats.onnx_schema import NUMBERS, SCHEMA
from fairway.formats.onnx_tensors import EXTERNAL
from fairway.formats.protobuf import Message, encode
from fairway.tensors import Array

OPSET = 17
"""The first with LayerNormalization; ONNX Runtime since 1.12 and OpenVINO since 2022.2 run all of it."""
IR_VERSION = 8
"""The one that came with that operator set."""
ALIGNMENT = 4096
"""So that a runtime can map the weights as they lie."""
KINDS = {"float32": "F32", "int64": "I64"}
FLOAT, INT, STRING, INTS = 1, 2, 3, 7
"""Kinds of attributes."""


class Drawing(Protocol):
    """What a decoder is drawn on: ONNX's operators, whatever becomes of them."""

    def add(self, op: str, *inputs: str, out: str | None = None, **attributes: float | list[int]) -> str: ...
    def constant(self, value: Array | float | Sequence[int]) -> str: ...


@dataclass
class GraphBuilder:
    """`add` appends a node and gives the name of what it makes."""

    nodes: list[Message] = field(default_factory=list)
    constants: dict[tuple[str, tuple[int, ...], bytes], str] = field(default_factory=dict)
    inputs: list[Message] = field(default_factory=list)
    outputs: list[Message] = field(default_factory=list)

    def add(
        self, op: str, *inputs: str, out: str | None = None, **attributes: float | str | list[int]
    ) -> str:
        name = out or f"{op}_{len(self.nodes)}"
        made = [_attribute(key, value) for key, value in attributes.items()]
        node = {"op": op, "name": f"/{name}", "inputs": inputs, "outputs": [name], "attributes": made}
        self.nodes.append(node)
        return name

    def rename(self, value: str, name: str) -> None:
        """Of the last node: nothing has read it yet."""
        assert self.nodes[-1]["outputs"] == [value]
        self.nodes[-1]["outputs"] = [name]

    def constant(self, value: Array | float | Sequence[int]) -> str:
        """Floats become float32, whole numbers int64; equal ones are one."""
        array = np.asarray(value)
        array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        key = KINDS[array.dtype.name], array.shape, array.tobytes()
        return self.constants.setdefault(key, f"constant_{len(self.constants)}")

    def input(self, name: str, kind: str, shape: Sequence[int | str]) -> str:
        self.inputs.append(_port(name, kind, shape))
        return name

    def output(self, name: str, kind: str, shape: Sequence[int | str]) -> None:
        self.outputs.append(_port(name, kind, shape))

    def to_bytes(self, name: str, weights: Mapping[str, Sized], layout: Layout, file: str) -> bytes:
        """The model file; weights lie in `file` beside it, where the layout puts them."""
        kept = [_constant(value, *key) for key, value in self.constants.items()]
        beside = [_weight(key, info, layout.offsets[key], file) for key, info in weights.items()]
        graph = {
            "nodes": self.nodes,
            "name": name,
            "initializers": kept + beside,
            "inputs": self.inputs,
            "outputs": self.outputs,
        }
        model = {
            "ir_version": IR_VERSION,
            "producer_name": "fairway",
            "producer_version": __version__,
            "graph": graph,
            "opsets": [{"domain": "", "version": OPSET}],
        }
        return encode(SCHEMA, "Model", model)


def weights_layout(weights: Mapping[str, Sized]) -> Layout:
    """One tensor after the other, each on a page of its own."""
    offsets, position = {}, 0
    for name, info in weights.items():
        offsets[name] = position = -(-position // ALIGNMENT) * ALIGNMENT
        position += info.num_bytes
    return Layout(b"", offsets, position)


def _attribute(name: str, value: float | str | list[int]) -> Message:
    if isinstance(value, str):
        return {"name": name, "s": value.encode("utf-8"), "type": STRING}
    if isinstance(value, list):
        return {"name": name, "ints": value, "type": INTS}
    if isinstance(value, int):
        return {"name": name, "i": value, "type": INT}
    return {"name": name, "f": value, "type": FLOAT}


def _port(name: str, kind: str, shape: Sequence[int | str]) -> Message:
    dims = [{"size": each} if isinstance(each, int) else {"symbol": each} for each in shape]
    return {"name": name, "type": {"tensor": {"element": NUMBERS[kind], "shape": {"dims": dims}}}}


def _constant(name: str, kind: str, shape: tuple[int, ...], raw: bytes) -> Message:
    return {"name": name, "dims": shape, "data_type": NUMBERS[kind], "raw_data": raw}


def _weight(name: str, info: Sized, offset: int, file: str) -> Message:
    places: dict[str, Any] = {"location": file, "offset": offset, "length": info.num_bytes}
    entries = [{"key": key, "value": str(value)} for key, value in places.items()]
    shape = {"name": name, "dims": info.shape, "data_type": NUMBERS[info.type]}
    return shape | {"external_data": entries, "data_location": EXTERNAL}
