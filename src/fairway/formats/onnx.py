"""ONNX models: the graph with its inputs and outputs, and the tensors it carries.

Read by hand from the header's fields (`onnx_schema`); weights are stepped over and mapped on demand, and
nothing is executed. The rule: what a graph refers to is shown as it is written, never looked for elsewhere.
https://github.com/onnx/onnx/blob/main/docs/IR.md
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from fairway.errors import FormatError
from fairway.formats.graph import Graph, GraphModel, Node, Port
from fairway.formats.onnx_schema import SCHEMA, TYPES
from fairway.formats.onnx_tensors import Gatherer, OnnxTensors
from fairway.formats.protobuf import HINT, Message, Reader
from fairway.formats.source import Source

MAX_NODES = 200_000
MAX_TENSORS = 100_000
MAX_NAME_LENGTH = 20_000_000
"""Of all tensors together: in a branch each bears the names of the nodes around it."""
LONGEST_SHOWN = 8
"""Numbers of a list that an attribute shows."""
DEFAULT_DOMAINS = ("", "ai.onnx")
INSIDE = frozenset(("g", "graphs", "t", "tensors"))
"""Keys of an attribute that holds more than numbers and names."""


def open_onnx(path: Path) -> GraphModel:
    """Reads and checks the graph. Raises `FormatError` for what is broken."""
    source = Source(path)
    reader = Reader(source, SCHEMA)
    model = reader.message("Model", (0, source.size))
    if "graph" not in model or "ir_version" not in model:
        raise FormatError(f"{path} holds no ONNX graph.", hint=HINT)
    gatherer = Gatherer(reader)
    graph = _Graphs(reader, gatherer).graph(model["graph"], "")
    sets = {_domain(each.get("domain", "")): each.get("version", 0) for each in model.get("opsets", ())}
    producer = f"{model.get('producer_name', '')} {model.get('producer_version', '')}".strip()
    metadata = {entry.get("key", ""): entry.get("value", "") for entry in model.get("metadata", ())}
    return GraphModel(path, "onnx", producer, sets, graph, gatherer.finished(), metadata, _warnings(model))


def onnx_weights(path: Path) -> OnnxTensors:
    """The tensors that lie beside the graph, where any do: what is inside it then is constants of its own."""
    model = open_onnx(path)
    tensors = model.tensors
    assert isinstance(tensors, OnnxTensors)
    beside = {name: each for name, each in tensors.tensors.items() if each.source.path != path}
    return OnnxTensors(beside or tensors.tensors, tensors.sources)


def _warnings(model: Message) -> tuple[str, ...]:
    found = []
    if names := [each.get("name", "?") for each in model.get("functions", ())]:
        listed = ", ".join(names[:3])
        found.append(f"It defines {len(names)} functions of its own ({listed}), not looked into.")
    if sparse := model["graph"].get("sparse"):
        found.append(f"{len(sparse)} sparse tensors are not read.")
    return tuple(found)


def _domain(name: str) -> str:
    return "" if name in DEFAULT_DOMAINS else name


def _one_or_many(message: Message, one: str, many: str) -> list[Message]:
    return [*([message[one]] if one in message else []), *message.get(many, ())]


class _Graphs:
    """Messages of one file as graphs."""

    def __init__(self, reader: Reader, gatherer: Gatherer) -> None:
        self._reader = reader
        self._gatherer = gatherer
        self._num_nodes = self._name_length = 0

    def graph(self, message: Message, scope: str) -> Graph:
        """`scope` precedes the names of tensors in a branch or body, so that they stay apart."""
        for tensor in message.get("initializers", ()):
            self._tensor(scope + tensor.get("name", ""), tensor)
        weights = {tensor.get("name", "") for tensor in message.get("initializers", ())}
        inputs = [self._port(each) for each in message.get("inputs", ()) if each.get("name") not in weights]
        outputs = [self._port(each) for each in message.get("outputs", ())]
        self._num_nodes += len(message.get("nodes", ()))
        if self._num_nodes > MAX_NODES:
            raise self._reader.error(f"has more than {MAX_NODES:,} nodes")
        nodes = [self._node(each, scope, index) for index, each in enumerate(message.get("nodes", ()))]
        return Graph(message.get("name", ""), tuple(nodes), tuple(inputs), tuple(outputs))

    def _tensor(self, name: str, message: Message) -> None:
        self._name_length += len(name)
        if len(self._gatherer.tensors) >= MAX_TENSORS or self._name_length > MAX_NAME_LENGTH:
            raise self._reader.error(f"has more than {MAX_TENSORS:,} tensors, or names too long for them")
        self._gatherer.add(name, message)

    def _node(self, message: Message, scope: str, index: int) -> Node:
        get = message.get
        name, op = get("name", ""), get("op", "")
        if not op:
            raise self._reader.error(f"has a node {name[:80]!r} that names no operator")
        inputs, outputs = tuple(get("inputs", ())), tuple(get("outputs", ()))
        domain = _domain(message["domain"]) if "domain" in message else ""
        if "attributes" not in message:
            return Node(op, name, inputs, outputs, domain)
        attributes: dict[str, Message] = {}
        graphs: dict[str, Graph] = {}
        for each in message["attributes"]:
            key = each.get("name", "")
            if not INSIDE.isdisjoint(each):
                self._inside(each, key, f"{scope}{name or f'{op} {index}'}/", graphs)
            if "g" not in each and "graphs" not in each:
                attributes[key] = each
        return Node(op, name, inputs, outputs, domain, _Attributes(attributes, self._reader), graphs)

    def _inside(self, message: Message, key: str, place: str, graphs: dict[str, Graph]) -> None:
        """The graphs and tensors of an attribute."""
        for number, inner in enumerate(_one_or_many(message, "g", "graphs")):
            graphs[f"{key} {number + 1}" if number else key] = self.graph(inner, f"{place}{key}/")
        for number, tensor in enumerate(_one_or_many(message, "t", "tensors")):
            self._tensor(f"{place}{key} {number + 1}" if number else f"{place}{key}", tensor)

    def _port(self, message: Message) -> Port:
        kind = message.get("type", {})
        if "tensor" not in kind:
            return Port(message.get("name", ""), next(iter(kind), "?"), None)
        tensor = kind["tensor"]
        name = TYPES.get(tensor.get("element", 0), ("STRING" if tensor.get("element") == 8 else "?", 0))[0]
        if "shape" not in tensor:
            return Port(message.get("name", ""), name, None)
        sizes = tensor["shape"].get("dims", ())
        shape = tuple(each["size"] if "size" in each else each.get("symbol") or "?" for each in sizes)
        return Port(message.get("name", ""), name, shape)


class _Attributes(Mapping[str, str]):
    """A node's attributes as text, made when somebody looks: most graphs are only counted."""

    def __init__(self, messages: Mapping[str, Message], reader: Reader) -> None:
        self._messages, self._reader = messages, reader

    def __iter__(self) -> Iterator[str]:
        return iter(self._messages)

    def __len__(self) -> int:
        return len(self._messages)

    def __repr__(self) -> str:
        return repr(dict(self))

    def __getitem__(self, key: str) -> str:
        message = self._messages[key]
        if "t" in message:
            kind = TYPES.get(message["t"].get("data_type", 0), ("?", 0))[0]
            return f"{kind} {list(message['t'].get('dims', ()))[:LONGEST_SHOWN]}"
        if "s" in message:
            return self._short(message["s"])
        for key in ("ints", "floats", "strings"):
            if key in message:
                shown = [
                    self._short(each) if key == "strings" else f"{each:g}"
                    for each in message[key][:LONGEST_SHOWN]
                ]
                more = ", …" if len(message[key]) > LONGEST_SHOWN else ""
                return f"[{', '.join(shown)}{more}]"
        return f"{message.get('i', message.get('f', 0)):g}"

    def _short(self, span: tuple[int, int]) -> str:
        begin, end = span
        return bytes(self._reader.source.data[begin : min(end, begin + 80)]).decode("utf-8", "replace")
