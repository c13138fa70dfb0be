"""Where the nodes of a graph stand in a drawing: rows by the longest way from the inputs, no overlaps.

Plain arithmetic, no markup. The rule: a node stands below everything it reads from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fairway.formats.graph import Graph, Node

WIDTH, HEIGHT = 168, 46
GAP_X, GAP_Y = 22, 34


@dataclass(frozen=True)
class Box:
    """A node or a port in the drawing; x and y are its upper left corner, in pixels."""

    label: str
    detail: str
    node: Node | None
    x: float
    y: float


@dataclass(frozen=True)
class Drawing:
    boxes: tuple[Box, ...]
    edges: tuple[tuple[int, int, str], ...]
    """(from, to, value) as indices into `boxes`."""
    width: float
    height: float


@dataclass
class _Item:
    label: str
    detail: str
    node: Node | None
    reads: tuple[str, ...]
    makes: tuple[str, ...]


def lay_out(graph: Graph, most: int) -> Drawing:
    """The first `most` nodes with the graph's inputs above and its outputs below them."""
    items = _items(graph, most)
    makers = {value: index for index, item in enumerate(items) for value in item.makes}
    edges = [
        (makers[value], index, value)
        for index, item in enumerate(items)
        for value in dict.fromkeys(item.reads)
        if value in makers and makers[value] != index
    ]
    rows = _rows(items, edges)
    places = _places(rows, edges)
    width = max((x for x, _ in places.values()), default=0) + WIDTH
    boxes = tuple(Box(item.label, item.detail, item.node, *places[index]) for index, item in enumerate(items))
    return Drawing(boxes, tuple(edges), width, len(rows) * (HEIGHT + GAP_Y) - GAP_Y if rows else 0)


def _items(graph: Graph, most: int) -> list[_Item]:
    shapes = {
        port.name: f"{port.type} {' × '.join(map(str, port.shape or ()))}"
        for port in (*graph.inputs, *graph.outputs)
    }
    items = [_Item(port.name, shapes[port.name], None, (), (port.name,)) for port in graph.inputs]
    items += [
        _Item(node.op, node.name, node, node.inputs, tuple(name for name in node.outputs if name))
        for node in graph.nodes[:most]
    ]
    if len(graph.nodes) <= most:
        items += [_Item(port.name, shapes[port.name], None, (port.name,), ()) for port in graph.outputs]
    return items


def _rows(items: Sequence[_Item], edges: Sequence[tuple[int, int, str]]) -> list[list[int]]:
    """Nodes come after what they read in any sound file; an edge that leads back does not count."""
    before: dict[int, list[int]] = {}
    for begin, end, _ in edges:
        if begin < end:
            before.setdefault(end, []).append(begin)
    depth: list[int] = []
    for index in range(len(items)):
        depth.append(1 + max((depth[each] for each in before.get(index, ())), default=-1))
    rows: list[list[int]] = [[] for _ in range(max(depth, default=-1) + 1)]
    for index, row in enumerate(depth):
        rows[row].append(index)
    return rows


def _places(
    rows: Sequence[Sequence[int]], edges: Sequence[tuple[int, int, str]]
) -> dict[int, tuple[float, float]]:
    """Each row in the order of the middle of what its nodes read, centred under the widest."""
    before: dict[int, list[int]] = {}
    for begin, end, _ in edges:
        before.setdefault(end, []).append(begin)
    widest = max((len(row) for row in rows), default=0) * (WIDTH + GAP_X) - GAP_X
    places: dict[int, tuple[float, float]] = {}
    for number, row in enumerate(rows):
        middles = {}
        for index in row:
            xs = [places[each][0] for each in before.get(index, ()) if each in places]
            middles[index] = sum(xs) / len(xs) if xs else 0.0
        start = (widest - (len(row) * (WIDTH + GAP_X) - GAP_X)) / 2
        for position, index in enumerate(sorted(row, key=lambda each: (middles[each], each))):
            places[index] = start + position * (WIDTH + GAP_X), number * (HEIGHT + GAP_Y)
    return places
