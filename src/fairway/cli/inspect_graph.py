"""What `fairway inspect` tells about a graph: operators, inputs, outputs, and the numbers it carries."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.inspect import count, printable, size

if TYPE_CHECKING:
    from rich.table import Table

    from fairway.formats.graph import GraphModel, Port


def inspect_graph(model: GraphModel, *, as_json: bool, with_tensors: bool, page: Path | None) -> None:
    """Prints the report, and writes the page where one is asked for."""
    if page is not None:
        from fairway.formats.atomic import atomic_file
        from fairway.report.graph_page import graph_page

        with atomic_file(page) as file:
            file.write(graph_page(model).encode("utf-8"))
    if as_json:
        click.echo(json.dumps(as_dict(model, with_tensors), indent=2))
    else:
        draw(model, with_tensors)


def as_dict(model: GraphModel, with_tensors: bool) -> dict[str, Any]:
    infos = model.tensors.infos.values()
    values: dict[str, Any] = {
        "path": str(model.path),
        "container": model.container,
        "producer": model.producer,
        "operator_sets": dict(model.operator_sets),
        "num_nodes": model.num_nodes,
        "operators": model.operators,
        "inputs": [asdict(port) for port in model.graph.inputs],
        "outputs": [asdict(port) for port in model.graph.outputs],
        "num_parameters": model.num_parameters,
        "num_tensors": len(infos),
        "types": {name: asdict(kind) for name, kind in model.types.items()},
        "files": [source.name for source in model.sources],
        "metadata": dict(model.metadata),
        "warnings": list(model.warnings),
    }
    return values | ({"tensors": [asdict(info) for info in infos]} if with_tensors else {})


def draw(model: GraphModel, with_tensors: bool) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    console.print(Text(printable(model.graph.name or model.path.stem), style="bold cyan"))
    console.print(_facts(model))
    console.print(_grid(("operator", "nodes"), [(name, str(num)) for name, num in model.operators.items()]))
    kinds = [
        (name, str(kind.num_tensors), count(kind.num_elements), size(kind.num_bytes))
        for name, kind in model.types.items()
    ]
    if kinds:
        console.print(_grid(("type", "tensors", "numbers", "bytes"), kinds))
    if with_tensors:
        rows = [
            (info.name, info.type, " x ".join(map(str, info.shape)) or "scalar", f"{info.num_bytes:,}")
            for info in model.tensors.infos.values()
        ]
        console.print(_grid(("tensor", "type", "shape", "bytes"), rows))
    for warning in model.warnings:
        console.print(Text(f"Note: {printable(warning)}", style="yellow"))


def _facts(model: GraphModel) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    sets = ", ".join(f"{name or 'standard'} {number}" for name, number in model.operator_sets.items())
    rows = [
        ("path", str(model.path)),
        ("container", model.container),
        ("made by", model.producer or "not stated"),
        ("operator sets", sets or "not stated"),
        ("nodes", f"{model.num_nodes:,}"),
        *(("input", described(port)) for port in model.graph.inputs),
        *(("output", described(port)) for port in model.graph.outputs),
        ("parameters", f"{count(model.num_parameters)} in {len(model.tensors.infos)} tensors"),
        ("weights", size(sum(info.num_bytes for info in model.tensors.infos.values()))),
        *((name, value[:500]) for name, value in model.metadata.items()),
    ]
    for name, value in rows:
        table.add_row(Text(printable(name)), Text(printable(value)))
    return table


def described(port: Port) -> str:
    """input_ids I64 [batch, sequence]"""
    shape = "of any rank" if port.shape is None else f"[{', '.join(map(str, port.shape))}]"
    return f"{port.name} {port.type} {shape}"


def _grid(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for index, name in enumerate(head):
        is_text = index == 0 or name in ("type", "shape")
        table.add_column(name, justify="left" if is_text else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table
