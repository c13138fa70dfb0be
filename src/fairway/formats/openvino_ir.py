"""OpenVINO's IR: an .xml file with the graph, and a .bin file beside it with the numbers of its constants.

Reads the graph and where each constant lies; nothing is executed and no entity is expanded (`xml_text`).
The rule: every constant lies inside the .bin file and takes what its type and shape need.
https://docs.openvino.ai/2025/documentation/openvino-ir-format.html
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path

from fairway.errors import FormatError, ModelNotFound
from fairway.formats.bundle import TensorInfo
from fairway.formats.graph import Graph, GraphModel, Node, Port
from fairway.formats.onnx_tensors import OnnxTensor, OnnxTensors
from fairway.formats.source import Source
from fairway.formats.xml_text import HINT, Element, read_xml

TYPES: Mapping[str, tuple[str, int]] = {
    "f32": ("F32", 32), "f16": ("F16", 16), "bf16": ("BF16", 16), "f64": ("F64", 64),
    "i4": ("I4", 4), "i8": ("I8", 8), "i16": ("I16", 16), "i32": ("I32", 32), "i64": ("I64", 64),
    "u1": ("U1", 1), "u2": ("U2", 2), "u3": ("U3", 3), "u4": ("U4", 4), "u6": ("U6", 6), "u8": ("U8", 8),
    "u16": ("U16", 16), "u32": ("U32", 32), "u64": ("U64", 64), "nf4": ("NF4", 4), "boolean": ("BOOL", 8),
    "f8e4m3": ("F8_E4M3", 8), "f8e5m2": ("F8_E5M2", 8), "f8e8m0": ("F8_E8M0", 8), "f4e2m1": ("F4", 4),
}  # fmt: skip
"""Element type -> its name, as safetensors spells it, and its bits."""
VERSIONS = (10, 11)
BODIES = ("body", "then_body", "else_body")
LONGEST_SHOWN = 80


def open_openvino(path: Path) -> GraphModel:
    """Reads an .xml file and checks it against its .bin. Raises `FormatError` for what does not fit."""
    source = Source(path)
    root = read_xml(source)
    version = root.attributes.get("version", "")
    if root.tag != "net" or version not in map(str, VERSIONS):
        raise FormatError(
            f"{path} is {root.tag[:40]!r} {version[:20]!r}, not version 10 or 11 of OpenVINO's IR.",
            hint="Export it again with a current OpenVINO.",
        )
    reading = _Reading(source)
    graph = reading.graph(root, root.attributes.get("name", ""), "")
    sources = (source, *([reading.numbers] if reading.numbers else []))
    return GraphModel(
        path,
        "openvino",
        _producer(root),
        reading.operator_sets,
        graph,
        OnnxTensors(reading.tensors, sources),
        {"version": version},
    )


def _producer(root: Element) -> str:
    info = root.first("rt_info")
    for tag in ("Runtime_version", "MO_version"):
        found = info.first(tag) if info else None
        if found is not None:
            return f"OpenVINO {found.attributes.get('value', '')}".strip()
    return "OpenVINO"


class _Reading:
    """Layers of one file as nodes, and its constants as tensors."""

    def __init__(self, source: Source) -> None:
        self.tensors: dict[str, OnnxTensor] = {}
        self.operator_sets: dict[str, int] = {}
        self.numbers: Source | None = None
        self._source = source

    def graph(self, net: Element, name: str, scope: str) -> Graph:
        layers = [each for part in net.all("layers") for each in part.all("layer")]
        edges = [each.attributes for part in net.all("edges") for each in part.all("edge")]
        values = {value: name for layer in layers for value, name in self._values(layer, scope)}
        kinds = {value: _kind(port) for layer in layers for value, port in self._ports(layer, "output")}
        feeds: dict[str, list[str]] = {}
        for edge in edges:
            value = f"{edge.get('from-layer', '?')}:{edge.get('from-port', '0')}"
            feeds.setdefault(edge.get("to-layer", "?"), []).append(value)
        nodes, inputs, outputs = [], [], []
        for layer in layers:
            fed = feeds.get(layer.attributes.get("id", ""), [])
            node = self._node(layer, tuple(values.get(value, value) for value in fed), scope)
            if node.op == "Parameter":
                inputs.append(self._parameter(layer, node.outputs[0] if node.outputs else node.name))
            elif node.op == "Result":
                kind = kinds.get(fed[0], "?") if fed else "?"
                outputs.append(self._result(layer, node.inputs[0] if fed else node.name, kind))
            elif node.op != "Const":
                nodes.append(node)
        return Graph(name, tuple(nodes), tuple(inputs), tuple(outputs))

    def _values(self, layer: Element, scope: str) -> list[tuple[str, str]]:
        """What a layer makes -> its name: the one that a user gave, else the layer's."""
        ports = self._ports(layer, "output")
        name = layer.attributes.get("name", "") or layer.attributes.get("id", "")
        if layer.attributes.get("type") == "Const":
            return [(value, f"{scope}{name}") for value, _ in ports]
        plain = [name, *(f"{name} {number}" for number in range(1, len(ports)))]
        return [
            (value, port.attributes.get("names", "").split(",")[0] or own)
            for (value, port), own in zip(ports, plain, strict=False)
        ]

    def _node(self, layer: Element, inputs: tuple[str, ...], scope: str) -> Node:
        facts = layer.attributes
        op, name = facts.get("type", ""), facts.get("name", "") or facts.get("id", "")
        if not op or "id" not in facts:
            raise self._error(f"has a layer {name[:80]!r} without a type or an id")
        version = facts.get("version", "")
        domain = "" if version.startswith("opset") or not version else version
        if version.startswith("opset") and version[5:].isdigit():
            self.operator_sets[""] = max(self.operator_sets.get("", 0), int(version[5:][:4]))
        elif version:
            self.operator_sets.setdefault(version[:40], 0)
        data = layer.first("data")
        stated = {} if data is None else {key: text[:LONGEST_SHOWN] for key, text in data.attributes.items()}
        if op == "Const":
            self._constant(f"{scope}{name}", data)
        graphs = {
            body.tag: self.graph(body, body.tag, f"{scope}{name}/{body.tag}/")
            for body in layer.children
            if body.tag in BODIES
        }
        outputs = tuple(value for _, value in self._values(layer, scope))
        return Node(op, name, inputs, outputs, domain, stated, graphs)

    def _ports(self, layer: Element, side: str) -> list[tuple[str, Element]]:
        part = layer.first(side)
        number = layer.attributes.get("id", "")
        ports = part.all("port") if part else ()
        return [(f"{number}:{port.attributes.get('id', '0')}", port) for port in ports]

    def _parameter(self, layer: Element, name: str) -> Port:
        data = layer.first("data")
        facts = {} if data is None else data.attributes
        kind = TYPES.get(facts.get("element_type", ""), ("?", 0))[0]
        sizes = [each.strip() for each in facts.get("shape", "").split(",") if each.strip()]
        if facts.get("shape", "").strip() == "...":
            return Port(name, kind, None)
        return Port(name, kind, tuple(int(each) if _is_size(each) else "?" for each in sizes))

    def _result(self, layer: Element, name: str, kind: str) -> Port:
        [port] = [port for _, port in self._ports(layer, "input")][:1] or [Element("port", {})]
        sizes = (dim.text for dim in port.all("dim"))
        return Port(name, kind, tuple(int(each) if _is_size(each) else "?" for each in sizes))

    def _constant(self, name: str, data: Element | None) -> None:
        facts = {} if data is None else data.attributes
        kind = facts.get("element_type", "")
        if name in self.tensors:
            name = f"{name} {len(self.tensors)}"
        offset, size = (self._number(name, facts.get(key, "")) for key in ("offset", "size"))
        shape = tuple(self._number(name, each) for each in facts.get("shape", "").split(",") if each.strip())
        info = TensorInfo(name, TYPES.get(kind, (kind.upper()[:20], 0))[0], shape, size)
        if kind not in TYPES and kind != "string":
            raise self._error(f"gives the constant {name[:80]!r} the unknown type {kind[:20]!r}")
        needed = (prod(shape) * TYPES[kind][1] + 7) // 8 if kind in TYPES else size
        if needed != size:
            stated = f"{kind} {list(shape)[:8]}"
            raise self._error(f"gives the constant {name[:80]!r} {size} bytes; {stated} takes {needed}")
        numbers = self._bin()
        if offset + size > numbers.size:
            raise self._error(
                f"puts the constant {name[:80]!r} at bytes {offset} to {offset + size} of {numbers.name}, "
                f"which has {numbers.size}"
            )
        self.tensors[name] = OnnxTensor(info, numbers, (offset, offset + size))

    def _bin(self) -> Source:
        if self.numbers is None:
            try:
                self.numbers = Source(self._source.path.with_suffix(".bin"))
            except ModelNotFound as error:
                path = self._source.path
                raise FormatError(
                    f"{path} keeps its numbers in {path.stem}.bin, which is missing.",
                    hint="Download it beside the .xml file.",
                ) from error
        return self.numbers

    def _number(self, name: str, text: str) -> int:
        if not _is_size(text.strip()):
            raise self._error(f"gives the constant {name[:80]!r} the size or place {text[:20]!r}")
        return int(text)

    def _error(self, problem: str) -> FormatError:
        return FormatError(f"{self._source.path} {problem}.", hint=HINT)


def _kind(port: Element) -> str:
    """FP32 and F32 are one type."""
    kind = port.attributes.get("precision", "?")
    return f"F{kind[2:]}" if kind.startswith("FP") else kind.upper()[:20]


def _is_size(text: str) -> bool:
    """ "-1" and the like are sizes chosen when the model runs."""
    return text.isascii() and text.isdigit() and len(text) < 19
