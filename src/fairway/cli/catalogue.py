"""The catalogue as commands open it: the package's files, the user's, those of `--catalogue`; its page."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fairway import settings
from fairway.cli.options import SECTIONS
from fairway.map.settings import CatalogueSettings

if TYPE_CHECKING:
    from fairway.map.catalogue import Catalogue
    from fairway.server.pages import LatePage, Page

F = TypeVar("F", bound=Callable[..., Any])


def catalogue_option(function: F) -> F:
    text = "TOML file that adds to the catalogue or corrects it; several are read in turn."
    return click.option("--catalogue", "files", metavar="FILE", multiple=True, help=text)(function)


def open_catalogue(files: tuple[str, ...] = ()) -> Catalogue:
    """Raises `SettingsError` naming the file, table and key that is wrong."""
    from fairway.map.catalogue import load_catalogue

    configured = settings.load(SECTIONS, CatalogueSettings, flags={})
    return load_catalogue((*configured.files, *files))


def map_page_of(has_keys: bool) -> LatePage:
    """The map under /map. Behind keys it is made without a look around: whoever has none learns nothing."""
    from fairway.server.pages import LatePage

    return LatePage("/map", lambda: _map_page(has_keys))


def _map_page(has_keys: bool) -> Page:
    from fairway.map.landscape import look_around
    from fairway.report.map_page import map_page, map_policy
    from fairway.server.pages import Page

    catalogue = open_catalogue()
    text = map_page(catalogue, None if has_keys else look_around(catalogue))
    return Page("/map", text.encode("utf-8"), "text/html", map_policy())
