"""`fairway quantize SRC --auto`: measures, shows the table, says why, and writes the file.

The measuring is `fairway.autoquantize`'s; the writing is the same hop that `--to` takes.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.convert import plan_dict, prepared, result_dict, tell_plan, tell_result
from fairway.cli.options import engine_settings, read_text
from fairway.cli.screen import Screen, screen_for
from fairway.errors import DoesNotFit, SettingsError, UsageError

if TYPE_CHECKING:
    from fairway.autoquantize.choose import Choice
    from fairway.autoquantize.measure import Measuring, Text
    from fairway.autoquantize.settings import Goal
    from fairway.autoquantize.task import Task
    from fairway.convert.job import Conversion
    from fairway.convert.settings import ConvertSettings

SPARE_BYTES = 300 << 20
"""Of memory, for the interpreter and what a forward pass needs."""


@dataclass(frozen=True)
class Wish:
    """The flags that belong to --auto; None where they were not given."""

    budget: str | None
    quality: float | None
    text: Path | None
    page: Path | None


def carry_out_auto(
    source: str, flags: Mapping[str, Any], wish: Wish, *, dry_run: bool, as_json: bool
) -> None:
    """All that can be refused is refused before the model is loaded."""
    from fairway.autoquantize.task import task_of
    from fairway.convert import hops
    from fairway.convert.settings import ChosenTypes, ConvertSettings

    goal, screen = _goal(wish), screen_for(as_json)
    if flags["requantize"]:
        raise UsageError(
            "--auto measures against exact weights, so it cannot --requantize.",
            hint="Start from the model in F16, BF16 or F32.",
        )
    text = _text(wish.text)
    _check_page(wish.page)
    settings = ConvertSettings(to="gguf", type="Q8_0", chosen=ChosenTypes({}, {}), **flags)
    conversion = prepared(source, settings, screen)
    with screen.step("Looked at the matrices"):
        task = task_of(conversion)
    task.check(goal)
    choice = _choose(conversion, task, goal, text, screen)
    if wish.page is not None:
        _write_page(choice, wish.page)
    final = hops.prepare(conversion.source, _chosen(settings, choice), conversion.source_name)
    if not as_json:
        draw(choice)
    if dry_run:
        _tell_dry_run(final, choice, as_json)
        return
    for note in final.notes:
        screen.note(f"Note: {note}")
    with screen.step(f"Converted {final.source_name}", is_bytes=True) as progress:
        published = hops.convert(final, progress)
    if as_json:
        click.echo(json.dumps(result_dict(final, published) | {"auto": to_dict(choice)}, indent=2))
    else:
        tell_result(final, published, as_json=False)


def _goal(wish: Wish) -> Goal:
    from fairway.autoquantize.settings import Goal
    from fairway.convert.settings import parse_size

    if wish.budget is None:
        return Goal(quality=wish.quality)
    try:
        return Goal(parse_size(wish.budget), wish.quality)
    except SettingsError as error:
        raise SettingsError(error.message, hint=error.hint, param="budget") from None


def _text(path: Path | None) -> Text:
    from fairway.autoquantize.measure import Text
    from fairway.proof import evaluation_text

    if path is None:
        return Text(evaluation_text.NAME, evaluation_text.mixed())
    return Text(path.name, read_text(path))


def _check_page(page: Path | None) -> None:
    if page is not None and not page.absolute().parent.is_dir():
        raise UsageError(
            f"There is no folder {page.absolute().parent} for {page.name}.", hint="Make it first."
        )


def _choose(conversion: Conversion, task: Task, goal: Goal, text: Text, screen: Screen) -> Choice:
    from fairway.autoquantize.choose import Chooser
    from fairway.autoquantize.journal import Journal, identity_of
    from fairway.autoquantize.measure import Measuring
    from fairway.kernels.select import select_backend

    engine = engine_settings({})
    backend = select_backend(engine.isa, engine.threads)
    folder = engine.packed_folder.with_name("measured") if engine.packed_cache else None
    machine = f"{platform.node()}, {backend.name}, threads {engine.threads}"
    journal = Journal(folder, identity_of(conversion.source, text.content, machine))
    measuring = Measuring(conversion.source, text, backend, journal)
    _check_memory(task, measuring)
    with screen.step("Ran the model as it is stored") as progress:
        window_s = measuring.run_reference(progress)
    with screen.step("Measured the mixes") as progress:
        chooser = Chooser(task, measuring, goal, progress)
        amount = f"{len(task.groups)} groups of matrices, {len(task.usual)} usual mixes"
        took = _duration(chooser.estimate_s(window_s))
        screen.note(f"Measuring {amount}: about {took}; a run that is cut off goes on from there")
        return chooser.choose(text.name)


def _check_memory(task: Task, measuring: Measuring) -> None:
    """The exact model, the largest of the mixes, and the logits that all are compared with."""
    from fairway.convert.preflight import size
    from fairway.map.probe import probe

    mixes = max(map(task.size, task.usual.values()))
    needed = task.largest + mixes + measuring.reference_bytes + SPARE_BYTES
    free = probe().memory_free_bytes
    if needed > free:
        raise DoesNotFit(
            f"Measuring {task.name} takes {size(needed)} of memory; {size(free)} are free.",
            hint="Name a type yourself, which streams in little memory: --to Q4_K_M.",
        )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _chosen(settings: ConvertSettings, choice: Choice) -> ConvertSettings:
    """The type of most bytes stands for the whole where a header has room for one."""
    from fairway.autoquantize.explain import record_of
    from fairway.convert.encode import num_bytes
    from fairway.convert.settings import ChosenTypes
    from fairway.quantize.plan import known_mix

    types = choice.chosen.types
    sizes: dict[str, int] = {}
    for job in choice.task.jobs:
        kind = types[job.name]
        sizes[kind] = sizes.get(kind, 0) + num_bytes(kind, job.rows.info.num_elements)
    largest = max(sizes, key=lambda name: sizes[name])
    return replace(settings, type=known_mix(largest), chosen=ChosenTypes(types, record_of(choice)))


def _write_page(choice: Choice, path: Path) -> None:
    from fairway.formats.atomic import atomic_file
    from fairway.report.auto_page import auto_page

    with atomic_file(path) as file:
        file.write(auto_page(choice).encode("utf-8"))


def _tell_dry_run(final: Conversion, choice: Choice, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(plan_dict(final) | {"auto": to_dict(choice)}, indent=2))
    else:
        tell_plan(final, as_json=False)


def to_dict(choice: Choice) -> dict[str, Any]:
    from fairway.autoquantize.explain import explanation, types_by_group

    return {
        "chosen": choice.chosen.to_dict() | {"types": types_by_group(choice)},
        "candidates": [each.to_dict() for each in choice.candidates],
        "text": choice.text,
        "num_tokens": choice.num_tokens,
        "because": list(explanation(choice)),
    }


def draw(choice: Choice) -> None:
    """The table, the largest first, then three lines that say why."""
    from rich.console import Console
    from rich.table import Table

    from fairway.autoquantize.explain import bits_per_weight, explanation, rate
    from fairway.convert.preflight import size

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("mix")
    for title in ("size", "bits", "tokens/s", "perplexity", "KL", "flips"):
        table.add_column(title, justify="right")
    for each in choice.candidates:
        likeness, is_chosen = each.measured.likeness, each is choice.chosen
        table.add_row(
            f"{each.name} ←" if is_chosen else each.name,
            size(each.num_bytes),
            f"{bits_per_weight(choice, each):.2f}",
            rate(each.measured.tokens_per_s),
            f"{likeness.perplexity_change:+.2%}",
            f"{each.divergence:.2g}",
            f"{each.measured.flips:.1%}",
            style="bold green" if is_chosen else "",
        )
    console = Console(highlight=False)
    console.print(table)
    console.print(
        f"On {choice.num_tokens:,} tokens of {choice.text}; tokens/s of one stream here.", style="dim"
    )
    for line in explanation(choice):
        console.print(line, soft_wrap=True)
