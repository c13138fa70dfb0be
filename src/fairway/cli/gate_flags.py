"""The flags of the gate, alike wherever something is scored or published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fairway.cli.options import engine_settings, settings_options
from fairway.errors import UsageError
from fairway.tune.gate_settings import MAX_TOKENS, METRIC, GateSettings
from fairway.tune.recipe import Recipe
from fairway.tune.settings import DataSettings

if TYPE_CHECKING:
    from fairway.proof.verdict import Check

F = TypeVar("F", bound=Callable[..., Any])
DATA_FLAGS = {
    "learn": "--learn",
    "max_length": "--max-length",
    "too_long": "--too-long",
    "raw": "--raw/--no-raw",
}


def gate_options(function: F) -> F:
    """How a held-out set is scored, and what is required of it."""
    own = "exact_match, contains, json, or file.py:function of (answer, expected); again for more."
    bar = "Such as exact_match>=0.8,stops>=0.95,loss<=2; what is below it is not published."
    longest = "Longest answer; a longer one did not stop."
    options = (
        click.option("--metric", multiple=True, help=f"{own}  [default: {METRIC}]"),
        click.option("--require", metavar="BAR", help=bar),
        click.option(
            "--max-tokens", type=click.IntRange(1), default=MAX_TOKENS, show_default=True, help=longest
        ),
        click.option("--rows", type=click.IntRange(1), help="Score the first so many rows only."),
        settings_options(Recipe, DATA_FLAGS),
    )
    for option in reversed(options):
        function = option(function)
    return function


def bar_options(function: F) -> F:
    """Of a command that publishes only what passes the gate."""
    held_out = "Score the result on this held-out data before it is published."
    options = (
        click.option("--validation", type=click.Path(path_type=Path), help=held_out),
        click.option("--require", metavar="BAR", help="With --validation: such as exact_match>=0.8,loss<=2."),
        click.option("--metric", multiple=True, help="With --validation: as in fairway gate."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def gate_of(flags: Mapping[str, Any], name: str) -> Callable[[Path], Check] | None:
    """The gate that those flags ask for. Raises `UsageError` or `SettingsError` before any work is done."""
    if flags["validation"] is None:
        named = next((each for each in ("require", "metric") if flags[each]), None)
        if named is not None:
            raise UsageError(f"--{named} needs held-out data.", hint="Name it with --validation FILE.")
        return None
    from fairway.cli.gating import Gating

    settings = GateSettings(metric=flags["metric"] or (METRIC,), require=flags["require"])
    settings.metrics()
    gating = Gating(flags["validation"], settings, replace(engine_settings({}), packed_cache=False))
    return lambda path: gating.check(path, name)


def gate_settings(flags: Mapping[str, Any]) -> GateSettings:
    given = {name: flags[name] for name in DATA_FLAGS if flags[name] is not None}
    return GateSettings(
        metric=flags["metric"] or (METRIC,),
        require=flags["require"],
        max_tokens=flags["max_tokens"],
        rows=flags["rows"],
        data=DataSettings(**given),
    )
