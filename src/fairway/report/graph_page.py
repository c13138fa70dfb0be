"""What an ONNX or OpenVINO file holds, as one page: facts, operators, types, and the graph as a drawing.

Reads headers only. The rule: what the drawing leaves out is said above it.
"""

from __future__ import annotations

from collections.abc import Sequence

from fairway.formats.graph import GraphModel, Node, Port
from fairway.report.charts import NUM_COLOURS, parts
from fairway.report.graph_layout import HEIGHT, WIDTH, Box, Drawing, lay_out
from fairway.report.html import Child, Html, el, join
from fairway.report.page import count, facts, page, section, size, table

MOST_NODES = 600
MOST_PORTS = 6
LONGEST = 22
"""Letters that a box has room for."""


def graph_page(model: GraphModel) -> str:
    """The whole document."""
    name = model.graph.name or model.path.stem
    return page(
        f"{name}: what the file holds",
        "inspect",
        _title(model, name),
        _overview(model),
        _drawn(model),
        section("Operators", _operators(model)),
        section("Tensors", _tensors(model)) if model.tensors.infos else None,
    )


def _title(model: GraphModel, name: str) -> Html:
    weight = sum(info.num_bytes for info in model.tensors.infos.values())
    words = f"{model.container}, {model.num_nodes:,} nodes, {count(model.num_parameters)} parameters"
    return el(
        "div",
        el("h1", name),
        el("p", f"{words}, {size(weight)}", class_="lead"),
        el("p", str(model.path), class_="path"),
        (el("p", note, class_="banner") for note in model.warnings),
    )


def _overview(model: GraphModel) -> Html:
    sets = ", ".join(f"{name or 'standard'} {number}" for name, number in model.operator_sets.items())
    rows: list[tuple[str, Child]] = [
        ("made by", model.producer or "not stated"),
        ("operator sets", sets or "not stated"),
        *(("input", text) for text in _ports(model.graph.inputs)),
        *(("output", text) for text in _ports(model.graph.outputs)),
        *((key, value[:500]) for key, value in model.metadata.items()),
    ]
    kinds = model.types
    cells: list[tuple[Child, ...]] = [
        (name, f"{kind.num_tensors:,}", count(kind.num_elements), size(kind.num_bytes))
        for name, kind in kinds.items()
    ]
    chart = parts({name: float(kind.num_bytes) for name, kind in kinds.items()}, "Types by bytes")
    listed = table(("type", "tensors", "numbers", "bytes"), cells, numbers=3)
    types = join(chart, el("div", listed, class_="gap"))
    return el("div", section("Model", facts(*rows)), section("Types", types), class_="pair")


def _ports(ports: Sequence[Port]) -> list[str]:
    """A decoder has two for every layer: the first say what the others are, and the drawing has them all."""
    more = len(ports) - MOST_PORTS
    return [_port(each) for each in ports[:MOST_PORTS]] + ([f"and {more} more"] if more > 0 else [])


def _port(port: Port) -> str:
    shape = "of any rank" if port.shape is None else " × ".join(map(str, port.shape)) or "scalar"
    return f"{port.name}: {port.type} {shape}"


def _operators(model: GraphModel) -> Html:
    rows: list[tuple[Child, ...]] = [(name, f"{number:,}") for name, number in model.operators.items()]
    return table(("operator", "nodes"), rows, numbers=1)


def _tensors(model: GraphModel) -> Html:
    rows: list[tuple[Child, ...]] = [
        (info.name, info.type, " × ".join(map(str, info.shape)) or "scalar", f"{info.num_bytes:,}")
        for info in model.tensors.infos.values()
    ]
    return table(("tensor", "type", "shape", "bytes"), rows, numbers=1)


def _drawn(model: GraphModel) -> Html:
    graph = model.graph
    note = None
    if len(graph.nodes) > MOST_NODES:
        note = f"The first {MOST_NODES:,} of {len(graph.nodes):,} nodes."
    kinds = sorted({node.op for node in graph.nodes})
    colours = {kind: f"k{index % NUM_COLOURS}" for index, kind in enumerate(kinds)}
    drawing = lay_out(graph, MOST_NODES)
    infos = model.tensors.infos.values()
    shapes = {info.name: f"{info.type} {' × '.join(map(str, info.shape))}" for info in infos}
    lines = [_edge(drawing, *edge) for edge in drawing.edges]
    boxes = [_box(box, colours, shapes) for box in drawing.boxes]
    view = f"-8 -8 {drawing.width + 16:g} {drawing.height + 16:g}"
    picture = el(
        "svg", lines, boxes, viewBox=view, class_="dag", width=f"{drawing.width + 16:g}",
        height=f"{drawing.height + 16:g}", role="img", aria_label="The graph of operators",
    )  # fmt: skip
    return section("Graph", el("div", picture, class_="scroll tall"), note=note)


def _edge(drawing: Drawing, begin: int, end: int, value: str) -> Html:
    a, b = drawing.boxes[begin], drawing.boxes[end]
    x, y, u, v = a.x + WIDTH / 2, a.y + HEIGHT, b.x + WIDTH / 2, b.y
    bend = max(14.0, (v - y) / 2)
    way = f"M{x:g} {y:g}C{x:g} {y + bend:g} {u:g} {v - bend:g} {u:g} {v:g}"
    return el("path", el("title", value), d=way, class_="wire")


def _box(box: Box, colours: dict[str, str], shapes: dict[str, str]) -> Html:
    look = colours[box.node.op] if box.node else "port"
    middle = box.x + WIDTH / 2
    return el(
        "g",
        el("title", _title_of(box.node, shapes) if box.node else f"{box.label}: {box.detail}"),
        el("rect", x=f"{box.x:g}", y=f"{box.y:g}", width=WIDTH, height=HEIGHT, rx=8),
        el("text", _short(box.label), x=f"{middle:g}", y=f"{box.y + 19:g}", class_="op"),
        el("text", _short(box.detail), x=f"{middle:g}", y=f"{box.y + 35:g}"),
        class_=f"box {look}",
    )


def _title_of(node: Node, shapes: dict[str, str]) -> str:
    """Everything known of a node, for who points at it."""
    lines = [f"{node.op} {node.name}"]
    lines += [f"{key}: {value}" for key, value in node.attributes.items()]
    lines += [f"reads {name} {shapes.get(name, '')}".rstrip() for name in node.inputs if name]
    lines += [f"{key}: a graph of {len(graph.nodes)} nodes" for key, graph in node.graphs.items()]
    return "\n".join(lines)


def _short(text: str) -> str:
    """The end of a long name says most."""
    return text if len(text) <= LONGEST else f"…{text[1 - LONGEST :]}"
