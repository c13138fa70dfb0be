"""The gate's table in the terminal: a line per stage, and beside each figure what the hop to it cost."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fairway.cli.inspect import printable
from fairway.tune.gate_result import GateResult
from fairway.tune.metrics import LOSS

SMALLEST = 5e-4
"""A change below it is none."""


def draw(result: GateResult) -> None:
    """Stages top to bottom in the order of the hops; the verdict last."""
    console = Console(highlight=False)
    first = result.stages[0][1]
    console.print(f"{result.data}: {first.num_rows:,} rows, {first.num_answers:,} answers")
    table = Table(box=None, padding=(0, 2, 0, 0))
    names = list(first.figures)
    for name in ("stage", "weights", *names):
        table.add_column(name, justify="right" if name in names else "left")
    for at, (stage, score) in enumerate(result.stages):
        costs = result.costs(at)
        figures = [_figure(name, value, costs) for name, value in score.figures.items()]
        table.add_row(printable(stage.name), score.weight_type, *figures)
    console.print(table)
    for failure in result.failures:
        console.print(Text(f"✗ {failure}", style="red"))
    if result.bars and not result.failures:
        console.print(Text(f"✓ {', '.join(map(str, result.bars))}", style="green"))


def _figure(name: str, value: float | None, costs: Mapping[str, float]) -> Text:
    if value is None:
        return Text("–", style="bright_black")
    text = Text(f"{value:.3f}" if name == LOSS else f"{value:.1%}")
    cost = costs.get(name)
    if cost is not None and abs(cost) >= SMALLEST:
        is_worse = (cost > 0) == (name == LOSS)
        written = f"{cost:+.3f}" if name == LOSS else f"{cost:+.1%}"
        text.append(f" {written}", style="red" if is_worse else "green")
    return text
