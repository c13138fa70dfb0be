"""`fairway verify A B`: is B the model that A is, and if not, what differs and where.

Exit code 0 if every check passed or the difference was accepted, 1 if not.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from fairway.cli.inspect import printable
from fairway.cli.options import HELP, engine_settings, json_option, read_text
from fairway.cli.screen import Screen, screen_for
from fairway.errors import UsageError
from fairway.map.settings import PlanSettings
from fairway.settings import types_of

if TYPE_CHECKING:
    from rich.table import Table

    from fairway.formats.bundle import Bundle
    from fairway.proof.record import Proof
    from fairway.proof.verdict import Check

SIGNS = {"passed": ("✓", "green"), "failed": ("✗", "red"), "not applicable": ("–", "bright_black")}
FAILED = 1
OBVIOUS = ("identical", "bit-exact")
"""Limits that a passed check need not repeat."""
WEIGHTS = tuple(name for name in get_args(types_of(PlanSettings)["weights"]) if name != "auto")


@click.command(name="verify", context_settings=HELP)
@click.argument("a")
@click.argument("b")
@click.option("--text", type=click.Path(path_type=Path), help="Text to predict, instead of Fairway's own.")
@click.option(
    "--weights", type=click.Choice(WEIGHTS), default="stored", help="Round B as `serve --weights` does."
)
@click.option("--quick", is_flag=True, help="A quarter of the strings and of the text.")
@click.option("--weights-only", is_flag=True, help="Run neither model; tokenizer and config may be missing.")
@click.option("--embeddings", is_flag=True, help="Compare embeddings although the model makes none.")
@click.option("--html", "page", type=click.Path(path_type=Path), help="Write a report with plots.")
@click.option("--accept", metavar="REASON", help="Accept what failed; recorded with your name.")
@json_option
def verify(
    a: str,
    b: str,
    text: Path | None,
    weights: str,
    page: Path | None,
    accept: str | None,
    as_json: bool,
    **flags: bool,
) -> int:
    """Compare model B with model A, from which it was made.

    Tokenizer, chat template, what the config computes, every tensor, every layer and the predictions on a
    text; the limits follow from the types that B is stored in. Exits with 1 if a check fails.
    """
    from fairway.proof.run import ProofSettings, run

    _check(page, accept)
    screen = screen_for(as_json)
    source, target = (_open(each, screen, complete=not flags["weights_only"]) for each in (a, b))
    if weights != "stored":
        from fairway.proof.rounded import rounded

        target = rounded(target, weights)
    engine = engine_settings({})
    settings = ProofSettings(
        quick=flags["quick"],
        run_models=not flags["weights_only"],
        embeddings=flags["embeddings"],
        isa=engine.isa,
        threads=engine.threads,
    )
    if text is not None:
        settings = replace(settings, text=read_text(text), text_name=text.name)
    with screen.step("Compared") as progress:
        proof = run(source, target, settings, progress)
    if accept is not None and not proof.verdict.passed:
        proof = proof.accept(accept)
    if page is not None:
        _write_page(proof, page)
    if as_json:
        click.echo(json.dumps(proof.to_json(complete=True), indent=1, ensure_ascii=False, allow_nan=False))
    else:
        draw(proof)
    return 0 if proof.may_publish else FAILED


def _check(page: Path | None, accept: str | None) -> None:
    """What would only be found out after minutes of work."""
    if accept is not None and not accept.strip():
        raise UsageError("An accepted proof needs a reason.", hint='Say why: --accept "REASON".')
    if page is not None and not page.absolute().parent.is_dir():
        raise UsageError(
            f"There is no folder {page.absolute().parent} for {page.name}.", hint="Make it first."
        )


def _open(model: str, screen: Screen, *, complete: bool) -> Bundle:
    from fairway.formats.open import open_bundle
    from fairway.registry.resolve import resolve

    with screen.step(f"Found {model}", is_bytes=True) as progress:
        return open_bundle(resolve(model, progress).path, complete=complete)


def _write_page(proof: Proof, path: Path) -> None:
    from fairway.formats.atomic import atomic_file
    from fairway.report.verify_page import verify_page

    with atomic_file(path) as file:
        file.write(verify_page(proof).encode("utf-8"))


def draw(proof: Proof) -> None:
    """The verdict in the first line, then a line per check."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    passed = proof.verdict.passed
    word, colour = ("passed", "bold green") if passed else ("failed", "bold red")
    console = Console(highlight=False)
    console.print(Text(f"{word}: ", colour) + Text(f"{proof.verdict.headline} ({proof.thresholds.kind} hop)"))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(width=1)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in proof.verdict.checks:
        _add(table, check)
    console.print(table)
    if proof.accepted is not None:
        line = f"Accepted by {proof.accepted.by} at {proof.accepted.at}: {proof.accepted.reason}"
        console.print(Text(line, "yellow"))


def _add(table: Table, check: Check) -> None:
    from rich.text import Text

    sign, colour = SIGNS[check.status]
    faint = "bright_black" if check.status == "not applicable" else ""
    figure = Text(printable(check.figure), faint)
    if check.limit and (check.status == "failed" or check.limit not in OBVIOUS):
        figure += Text(f" (asked: {check.limit})", "bright_black")
    table.add_row(Text(sign, colour), Text(check.name, faint), figure)
    for detail in check.details:
        table.add_row("", "", Text(printable(detail), "" if check.status == "failed" else "bright_black"))
