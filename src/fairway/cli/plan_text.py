"""How a plan, a race and the history of predictions are printed."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fairway.map.history import Comparison
    from fairway.map.routes.race import Lap
    from fairway.map.routes.route import Answer

WIDTH = 10
SHOWN = 40
WHAT = {
    "decode_tokens_per_s": "writes, tokens/s",
    "prefill_tokens_per_s": "reads, tokens/s",
    "output_tokens_per_s": "answers in all, tokens/s",
    "answer_tokens_per_s": "first answer, tokens/s",
    "first_token_s": "first token, s",
    "memory_bytes": "memory",
}
"""What people read for the names of a comparison."""


def print_answer(answer: Answer) -> None:
    """The route first, then its commands, the others, and why not the rest."""
    click.secho(f"{answer.model}: {answer.goal}", bold=True)
    for name, text in answer.best.lines():
        _line(name, text)
    for number, command in enumerate(answer.best.commands):
        _line("run" if number == 0 else "", click.style(command, bold=True))
    if answer.alternatives:
        click.echo("\nInstead")
        for route, what in answer.alternatives:
            click.echo(f"  {route.name}: {what}")
    if answer.not_chosen:
        click.echo("\nWhy not")
        for tool, reason in answer.not_chosen.items():
            click.secho(f"  {tool}: {reason}", dim=True)


def print_race(laps: Sequence[Lap]) -> None:
    """Tokens per second, predicted and measured."""
    click.echo("Raced on this machine:")
    for lap in laps:
        click.echo(f"  {lap.text()}")
    if not all(lap.is_quiet for lap in laps):
        busiest = max(lap.others for lap in laps)
        click.echo(f"  Others used {busiest:.0%} of the processor: this plan counts it, later ones do not.")
    click.echo()


def print_history(as_json: bool) -> None:
    """All comparisons of this machine as JSON; for people the latest, and how near they were."""
    from fairway.map.history import comparisons
    from fairway.map.known_limits import fingerprint
    from fairway.map.probe import probe

    mine = fingerprint(probe())
    found = [each for each in comparisons() if each.machine == mine]
    if as_json:
        click.echo(json.dumps([asdict(each) for each in found], indent=1))
        return
    if not found:
        click.echo("Nothing was predicted and measured on this machine yet: fairway bench and fairway up do.")
        return
    _history_table(found[-SHOWN:])
    click.echo(f"\n{len(found)} comparisons:")
    for what in dict.fromkeys(each.what for each in found):
        apart = [abs(each.ratio - 1) for each in found if each.what == what]
        click.echo(
            f"  {WHAT.get(what, what)}: {len(apart)}, half of them within {statistics.median(apart):.0%}"
        )


def _history_table(found: Sequence[Comparison]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("when", "by"):
        table.add_column(title, no_wrap=True)
    for title in ("model", "what"):
        table.add_column(title, overflow="fold")
    for title in ("predicted", "measured", "off by"):
        table.add_column(title, justify="right", no_wrap=True)
    for each in found:
        engine = "" if each.engine == "native" else f"{each.engine} "
        users = f" x {each.batch}" if each.batch > 1 else ""
        model = f"{each.model} {engine}{each.weights}{users}"
        when, what = each.time[5:16].replace("T", " "), WHAT.get(each.what, each.what)
        numbers = (_number(each.predicted), _number(each.measured), f"{each.ratio - 1:+.0%}")
        table.add_row(when, each.command, model, what, *numbers)
    Console(highlight=False).print(table)


def _number(value: float) -> str:
    return f"{value / 1e6:,.0f} MB" if value >= 1e7 else f"{value:,.4g}"


def _line(name: str, text: str) -> None:
    click.echo(f"  {click.style(name.ljust(WIDTH), dim=True)}{text}")
