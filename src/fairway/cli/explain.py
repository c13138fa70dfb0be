"""`fairway explain TERM`: a word of the field in a few sentences, and where it lives in Fairway."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from fairway.cli.catalogue import catalogue_option, open_catalogue
from fairway.cli.options import HELP, json_option

if TYPE_CHECKING:
    from fairway.map.catalogue import Catalogue
    from fairway.map.explain import Explanation

WIDTH = 78


@click.command(name="explain", context_settings=HELP)
@click.argument("words", metavar="[TERM]", nargs=-1)
@catalogue_option
@json_option
def explain(words: tuple[str, ...], files: tuple[str, ...], as_json: bool) -> None:
    """Say what TERM means, where it lives in Fairway and where that was read; without TERM list all terms.

    Case and punctuation do not count: "paged attention" is PagedAttention.
    """
    from fairway.map.explain import explain as find

    catalogue = open_catalogue(files)
    if not words:
        _list(catalogue, as_json)
        return
    found = find(catalogue, " ".join(words))
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=1, ensure_ascii=False))
    else:
        _show(found)


def _list(catalogue: Catalogue, as_json: bool) -> None:
    terms = sorted(catalogue.terms.values(), key=lambda term: term.name.lower())
    if as_json:
        click.echo(json.dumps([{"term": each.id, "name": each.name} for each in terms], indent=1))
        return
    from rich.columns import Columns
    from rich.console import Console
    from rich.text import Text

    Console(highlight=False).print(
        Columns([Text(each.name) for each in terms], padding=(0, 3), column_first=True)
    )


def _show(found: Explanation) -> None:
    term = found.term
    click.secho(term.name, bold=True)
    click.echo(click.wrap_text(term.text, WIDTH))
    if term.fairway:
        click.echo(click.wrap_text(f"In Fairway: {term.fairway}", WIDTH))
    if term.paths:
        click.echo(f"Lives in: {', '.join(f'src/fairway/{path}' for path in term.paths)}")
    for each in found.disagreements:
        click.echo(click.wrap_text(f"Sources disagree. {each.question} {each.now}", WIDTH))
    if found.see:
        click.echo(f"See also: {', '.join(each.name for each in found.see)}")
    click.secho(f"Source: {'; '.join(found.sources)}", dim=True)
