"""A model as a graph of operators: what ONNX files and OpenVINO's IR have in common.

Knows neither. Nothing here runs a graph; it is read to be shown, compared and converted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from fairway.formats.bundle import FileTensors
from fairway.formats.source import Source
from fairway.formats.summary import TypeBytes


@dataclass(frozen=True)
class Port:
    """An input or output of a graph."""

    name: str
    type: str
    shape: tuple[int | str, ...] | None
    """Outermost first; a name, or "?" without one, where the size is chosen when it runs. None: any rank."""


NOTHING: Mapping[str, Any] = MappingProxyType({})


class Node(NamedTuple):
    """One operator and the values it reads and makes, by name. A tuple: large graphs have thousands."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    domain: str = ""
    """"" is the standard's own set of operators."""
    attributes: Mapping[str, str] = NOTHING
    """As text for people."""
    graphs: Mapping[str, Graph] = NOTHING
    """Branches and bodies, by the attribute that holds them."""


@dataclass(frozen=True)
class Graph:
    """Nodes in an order in which they can run."""

    name: str
    nodes: tuple[Node, ...]
    inputs: tuple[Port, ...] = ()
    outputs: tuple[Port, ...] = ()

    def walk(self) -> Iterator[Node]:
        """Every node, those of branches and bodies too."""
        for node in self.nodes:
            yield node
            for graph in node.graphs.values():
                yield from graph.walk()


@dataclass(frozen=True)
class GraphModel:
    """A file with a graph and its tensors."""

    path: Path
    container: str
    """"onnx" or "openvino"."""
    producer: str
    operator_sets: Mapping[str, int]
    """Name of a set of operators ("" is the standard's) -> its version."""
    graph: Graph
    tensors: FileTensors
    metadata: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[Source, ...]:
        return self.tensors.sources

    @property
    def operators(self) -> dict[str, int]:
        """Operator -> how many nodes, most frequent first."""
        names = (f"{node.domain}.{node.op}" if node.domain else node.op for node in self.graph.walk())
        return dict(sorted(Counter(names).items(), key=lambda pair: (-pair[1], pair[0])))

    @property
    def types(self) -> dict[str, TypeBytes]:
        """Stored type -> its tensors, most bytes first."""
        found: dict[str, TypeBytes] = {}
        for info in self.tensors.infos.values():
            old = found.get(info.type, TypeBytes(0, 0, 0))
            found[info.type] = TypeBytes(
                old.num_tensors + 1, old.num_elements + info.num_elements, old.num_bytes + info.num_bytes
            )
        return dict(sorted(found.items(), key=lambda pair: -pair[1].num_bytes))

    @property
    def num_nodes(self) -> int:
        return sum(1 for _ in self.graph.walk())

    @property
    def num_parameters(self) -> int:
        """Numbers in floating point or low-bit tensors: shapes and indices are none of the model's."""
        infos = self.tensors.infos.values()
        return sum(info.num_elements for info in infos if info.type not in ("I32", "I64", "BOOL", "STRING"))
