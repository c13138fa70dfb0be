"""What the command line of `fairway tune` asks for, for all who carry it out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fairway.tune.recipe import Recipe


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for. `recipe` None: the one that the run was begun with."""

    model: str
    data: Path
    validation: Path | None
    out: Path
    recipe: Recipe | None
    dry_run: bool
    as_json: bool
    accept: str | None = None
    """Why the result is published although it is below the bar."""
    price_per_hour: float | None = None
