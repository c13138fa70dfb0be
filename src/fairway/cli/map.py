"""`fairway map`: the landscape by stage, role or format, here and as a page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fairway.cli.catalogue import catalogue_option, open_catalogue
from fairway.cli.options import HELP, json_option
from fairway.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console
    from rich.text import Text

    from fairway.map.catalogue import Catalogue
    from fairway.map.catalogue.schema import Role
    from fairway.map.landscape import Landscape, Place, View

LOOKS = {
    "ready": ("●", "green"),
    "possible": ("○", "green"),
    "hardware": ("▲", "yellow"),
    "account": ("◆", "magenta"),
    "cluster": ("■", "blue"),
    "unknown": ("·", "bright_black"),
}


@click.command(name="map", context_settings=HELP)
@click.option("--role", help="Only what is this role's: algorithm, infra, application, mlops, ...")
@click.option("--ignore", "ignored", is_flag=True, help="With --role: what that role may leave to others.")
@click.option("--stage", help="Only this stage: train, tune, package, run, serve, scale, operate.")
@click.option("--format", "format_name", help="Only what reads or writes this format, and its conversions.")
@click.option("--disagreements", is_flag=True, help="Where the sources disagree, and which one holds.")
@click.option("--html", "page", type=click.Path(path_type=Path), help="Write the map as one page.")
@catalogue_option
@json_option
def map(
    role: str | None,
    stage: str | None,
    format_name: str | None,
    page: Path | None,
    files: tuple[str, ...],
    as_json: bool,
    **flags: bool,
) -> None:
    """Show every tool of the field: where it belongs, what it reads and writes, and whether it runs here."""
    from fairway.map.catalogue.catalogue import find
    from fairway.map.landscape import View, landscape, look_around

    if flags["disagreements"] and (role or stage or format_name):
        raise UsageError("--disagreements shows them all.", hint="Leave --role, --stage and --format away.")
    if flags["ignored"] and role is None:
        raise UsageError("--ignore needs a role.", hint="For example: fairway map --role infra --ignore")
    catalogue = open_catalogue(files)
    view = View(
        role=None if role is None else find(catalogue.roles, role, "role").id,
        stage=None if stage is None else find(catalogue.stages, stage, "stage").id,
        format=None if format_name is None else catalogue.format(format_name).id,
        ignored=flags["ignored"],
    )
    if page is not None:
        _write_page(catalogue, page)
    if flags["disagreements"]:
        _disagreements(catalogue, as_json)
        return
    shown = landscape(catalogue, look_around(catalogue), view)
    if as_json:
        click.echo(json.dumps(shown.to_dict(), indent=1, ensure_ascii=False))
    elif page is None:
        _draw(shown, view)
    else:
        click.echo(f"Wrote {page}.")


def _write_page(catalogue: Catalogue, path: Path) -> None:
    from fairway.formats.atomic import atomic_file
    from fairway.map.landscape import look_around
    from fairway.report.map_page import map_page

    if not path.absolute().parent.is_dir():
        folder = path.absolute().parent
        raise UsageError(f"There is no folder {folder} for {path.name}.", hint="Make it first.")
    with atomic_file(path) as file:
        file.write(map_page(catalogue, look_around(catalogue)).encode("utf-8"))


def _draw(shown: Landscape, view: View) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    if view.role is not None:
        _role(console, shown.catalogue.roles[view.role], view.ignored)
    for stage in sorted(shown.catalogue.stages.values(), key=lambda each: each.order):
        if found := shown.of_stage(stage.id):
            title = Text(f"\n{stage.order} {stage.name}", "bold")
            console.print(title + Text(f"  {stage.what}", "not bold bright_black"))
            _tools(console, found)
    if view.format is not None:
        _lanes(console, shown)
    if not shown.places:
        console.print("No tool is all of that at once. Leave one of the flags away.")
    _legend(console, shown.places)


def _role(console: Console, role: Role, ignored: bool) -> None:
    from rich.text import Text

    console.print(Text(role.name, "bold") + Text(f": {role.does}", "not bold"))
    if ignored:
        console.print(Text(f"May be left to others: {role.leaves}"))


def _tools(console: Console, found: Iterable[Place]) -> None:
    from rich.table import Table
    from rich.text import Text

    from fairway.map.landscape import STANDINGS

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(width=1)
    table.add_column(min_width=18, overflow="fold", ratio=3)
    table.add_column(no_wrap=True, width=12)
    table.add_column(overflow="fold", ratio=5)
    for place in found:
        sign, colour = LOOKS[place.state]
        name = Text(place.tool.name, "" if place.is_here else "bright_black")
        standing = Text(STANDINGS[place.tool.fairway], "green" if place.is_here else "bright_black")
        table.add_row(Text(sign, colour), name, standing, _ports(place))
    console.print(table)


def _ports(place: Place) -> Text:
    """ "safetensors, gguf → gguf", or what is missing."""
    from rich.text import Text

    reads, writes = ", ".join(place.tool.reads), ", ".join(place.tool.writes)
    text = Text(f"{reads} → {writes}" if writes else reads)
    lacks = place.lacks if place.state in ("hardware", "account", "cluster") else ""
    if lacks:
        text += Text(f"{'; ' if text else ''}needs {lacks}", "yellow")
    return text


def _lanes(console: Console, shown: Landscape) -> None:
    from rich.text import Text

    console.print(Text("\nConversions", "bold"))
    for lane in shown.lanes:
        line = Text(f"  {lane.reads} → {lane.writes}  ") + Text(lane.how, "bright_black")
        console.print(line, soft_wrap=True)


def _legend(console: Console, places: Iterable[Place]) -> None:
    from rich.text import Text

    from fairway.map.landscape import STATES

    states = [place.state for place in places]
    line = Text("\n")
    for state, words in STATES.items():
        if state in states:
            sign, colour = LOOKS[state]
            line += Text(sign, colour) + Text(f" {words} ({states.count(state)})   ")
    console.print(line)
    console.print(
        "[bright_black]fairway map --html map.html draws it; fairway explain TERM says what a word means.[/]"
    )


def _disagreements(catalogue: Catalogue, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        found = [asdict(each) for each in catalogue.disagreements.values()]
        click.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    for each in catalogue.disagreements.values():
        click.secho(each.question, bold=True)
        for statement in each.statements:
            date = f", {statement.date}" if statement.date else ""
            click.echo(f"  {catalogue.sources[statement.source].name}{date}: {statement.says}")
        click.echo(f"  Now ({each.date}): {each.now}\n")
