"""`fairway inspect PATH`: what a model file is, from its header only; nothing in it is executed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.options import HELP
from fairway.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from fairway.formats.bundle import Bundle
    from fairway.formats.digest import ContentDigest
    from fairway.formats.summary import Summary

TYPICAL_CONTEXT = 4096


@click.command(name="inspect", context_settings=HELP)
@click.argument("path")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option("--tensors", "show_tensors", is_flag=True, help="List every tensor.")
@click.option("--digest", "with_digest", is_flag=True, help="Read everything and compute the digest.")
@click.option("--context", type=click.IntRange(1, 1 << 30), help="Tokens to compute the memory for.")
@click.option("--html", "page", type=click.Path(path_type=Path), help="Write a page with the structure.")
def inspect(
    path: str,
    as_json: bool,
    show_tensors: bool,
    with_digest: bool,
    context: int | None,
    page: Path | None,
) -> None:
    """Say what PATH is: a folder, a .safetensors, .gguf, .onnx or OpenVINO .xml file, or "builtin".

    Reads the header only, whatever the size, and executes nothing; --digest alone reads the weights.
    --html writes one page that loads nothing: the layers as a graph, and every tensor to be found.
    Pickles and unknown files are named and refused.
    """
    from fairway.formats.open import obstacle, open_bundle
    from fairway.formats.open_graph import open_graph
    from fairway.formats.summary import summarize
    from fairway.registry.resolve import on_disk

    located = on_disk(path)
    if graph := open_graph(located):
        from fairway.cli.inspect_graph import inspect_graph

        if with_digest or context:
            raise UsageError(
                f"{located} is a graph of operators, which has no digest and no context of its own.",
                hint="Leave --digest and --context away.",
            )
        inspect_graph(graph, as_json=as_json, with_tensors=show_tensors, page=page)
        return
    bundle = open_bundle(located, complete=False)
    error = obstacle(bundle)
    report = Report(bundle, summarize(bundle), context, error.message if error else None)
    if with_digest:
        report.digest = _digest(bundle, as_json)
    if page is not None:
        _write_page(bundle, report.obstacle, page)
    if as_json:
        click.echo(json.dumps(report.as_dict(show_tensors), indent=2))
    else:
        report.draw(show_tensors)


def _digest(bundle: Bundle, as_json: bool) -> ContentDigest:
    from fairway.cli.screen import screen_for
    from fairway.formats.digest import bundle_digest

    with screen_for(as_json, quiet=True).step("Reading", is_bytes=True) as progress:
        return bundle_digest(bundle, progress)


def _write_page(bundle: Bundle, obstacle: str | None, path: Path) -> None:
    from fairway.formats.atomic import atomic_file
    from fairway.report.inspect_page import inspect_page

    with atomic_file(path) as file:
        file.write(inspect_page(bundle, obstacle).encode("utf-8"))


class Report:
    """One inspection, as a table of facts or as JSON; both come from the same summary."""

    def __init__(self, bundle: Bundle, summary: Summary, context: int | None, obstacle: str | None) -> None:
        from fairway.formats.lora_open import stated_adapter

        self.bundle = bundle
        self.summary = summary
        self.obstacle = obstacle
        self.digest: ContentDigest | None = None
        self.adapter = stated_adapter(bundle.path)
        """What it is beside a model, in words; None for a model."""
        typical = min(TYPICAL_CONTEXT, summary.context_length or TYPICAL_CONTEXT)
        self.contexts = [context] if context else sorted({typical, summary.context_length or typical})

    def as_dict(self, with_tensors: bool) -> dict[str, Any]:
        from dataclasses import asdict

        values = {"path": str(self.bundle.path), **asdict(self.summary)}
        values["kv_bytes_per_token"] = self.summary.kv_bytes_per_token
        values["memory"] = [
            {**asdict(memory), "total_bytes": memory.total_bytes}
            for memory in map(self.summary.memory, self.contexts)
            if memory
        ]
        values["cannot_run"] = self.obstacle
        values["adapter"] = self.adapter
        values["pooling"] = asdict(self.bundle.pooling) if self.bundle.pooling else None
        values["lineage"] = asdict(self.bundle.lineage) if self.bundle.lineage else None
        values["digest"] = asdict(self.digest) if self.digest else None
        values["config"] = finite(dict(self.bundle.config))
        if with_tensors:
            values["tensors"] = [asdict(info) for info in self.bundle.tensors.infos.values()]
        return values

    def draw(self, with_tensors: bool) -> None:
        from rich.console import Console
        from rich.text import Text

        console = Console(highlight=False)
        console.print(Text(printable(self.summary.name), style="bold cyan"))
        console.print(self._facts())
        if self.summary.types:
            console.print(self._types())
        if with_tensors:
            console.print(self._tensors())
        self._notes(console)

    def _facts(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in self._rows():
            table.add_row(name, Text(printable(value)))
        return table

    def _rows(self) -> list[tuple[str, str]]:
        facts, unknown = self.summary, "not stated"
        shape = (
            f"{facts.num_layers} layers, width {facts.hidden_size}, "
            f"{facts.num_heads} heads, {facts.num_kv_heads} for keys and values"
        )
        vocabulary = f", {facts.vocab_size:,} tokens" if facts.vocab_size else ""
        rows = [
            ("path", str(self.bundle.path)),
            ("container", facts.container),
            ("architecture", facts.architecture or unknown),
            ("shape", shape if facts.num_layers and facts.num_heads else unknown),
            ("parameters", f"{count(facts.num_parameters)} in {facts.num_tensors} tensors"),
            ("weights", size(facts.weight_bytes)),
            ("context", f"{facts.context_length:,} tokens" if facts.context_length else unknown),
            ("tokenizer", facts.tokenizer + vocabulary if facts.tokenizer else "none"),
            ("chat template", "yes" if facts.has_chat_template else "no"),
            ("ends with ids", ", ".join(map(str, facts.end_of_text_ids)) or "none"),
            ("licence", facts.licence or unknown),
        ]
        if facts.quantization:
            rows.insert(5, ("quantised with", facts.quantization))
        if self.adapter:
            of_it = ("path", "container", "parameters", "weights")
            rows = [row for row in rows if row[0] in of_it] + [("adapter", self.adapter)]
        if self.bundle.pooling:
            rows.append(("pooling", self.bundle.pooling.kind))
        return rows + [("memory", text) for text in self._memory()] + self._origin()

    def _origin(self) -> list[tuple[str, str]]:
        """The digest, and the steps that led here; what was published under another digest is said to be."""
        lineage = self.bundle.lineage
        stated = lineage.digest if lineage else None
        rows = []
        if self.digest:
            changed = f" (it was published as {stated})" if stated not in (None, self.digest.value) else ""
            rows.append(("digest", self.digest.value + changed))
        elif stated:
            rows.append(("digest", f"{stated}, as published"))
        for step in lineage.steps if lineage else ():
            sources = " and ".join(f"{each.name} ({each.digest[:19]})" for each in step.sources)
            tools = ", ".join(f"{name} {version}" for name, version in step.tools.items())
            rows.append(("made from", f"{sources} by {step.hop}, {step.made}, {tools}"))
        return rows

    def _memory(self) -> list[str]:
        needs = [memory for memory in map(self.summary.memory, self.contexts) if memory]
        return [
            f"{size(need.total_bytes)} at {need.context:,} tokens "
            f"({size(need.weight_bytes)} weights, {size(need.kv_bytes)} cache)"
            for need in needs
        ]

    def _types(self) -> Table:
        from rich.table import Table

        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("type")
        for name in ("tensors", "parameters", "bytes", "bits each"):
            table.add_column(name, justify="right")
        for name, kind in self.summary.types.items():
            bits = f"{kind.num_bytes * 8 / kind.num_elements:.2f}" if kind.num_elements else "-"
            row = (str(kind.num_tensors), count(kind.num_elements), size(kind.num_bytes), bits)
            table.add_row(name, *row)
        return table

    def _tensors(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for name in ("tensor", "type", "shape", "bytes"):
            table.add_column(name, justify="right" if name == "bytes" else "left", overflow="fold")
        for info in self.bundle.tensors.infos.values():
            shape = " x ".join(map(str, info.shape)) or "scalar"
            table.add_row(Text(printable(info.name)), info.type, shape, f"{info.num_bytes:,}")
        return table

    def _notes(self, console: Console) -> None:
        from rich.text import Text

        for warning in self.summary.warnings:
            console.print(Text(f"Note: {printable(warning)}", style="yellow"))
        if self.adapter:
            console.print(Text("It answers beside its model: fairway run MODEL --lora ADAPTER.", style="dim"))
        elif self.obstacle:
            console.print(Text(f"Cannot be run as it is: {printable(self.obstacle)}", style="yellow"))


def printable(text: str) -> str:
    """Text of a stranger's file without control characters: it may not steer the terminal."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)


def finite(value: object) -> object:
    """A config's values as strict JSON has them: infinity and NaN become null."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def count(number: int) -> str:
    """7241732096 -> "7.24 B"."""
    for unit, name in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k")):
        if number >= unit:
            return f"{number / unit:.3g} {name}"
    return str(number)


def size(num_bytes: int) -> str:
    """4294967296 -> "4.00 GiB"."""
    for unit, name in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if num_bytes >= unit:
            return f"{num_bytes / unit:.2f} {name}"
    return f"{num_bytes} bytes"
