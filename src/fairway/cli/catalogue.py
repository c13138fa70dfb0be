"""The catalogue as commands open it: the package's files, the user's, and those of `--catalogue`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fairway import settings
from fairway.cli.options import SECTIONS
from fairway.map.settings import CatalogueSettings

if TYPE_CHECKING:
    from fairway.map.catalogue import Catalogue

F = TypeVar("F", bound=Callable[..., Any])


def catalogue_option(function: F) -> F:
    text = "TOML file that adds to the catalogue or corrects it; several are read in turn."
    return click.option("--catalogue", "files", metavar="FILE", multiple=True, help=text)(function)


def open_catalogue(files: tuple[str, ...] = ()) -> Catalogue:
    """Raises `SettingsError` naming the file, table and key that is wrong."""
    from fairway.map.catalogue import load_catalogue

    configured = settings.load(SECTIONS, CatalogueSettings, flags={})
    return load_catalogue((*configured.files, *files))
