"""The command line that both training programs have."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

from .settings import RECIPE_FILE, Recipe, load_recipe
from .team import default_size


@dataclass(frozen=True)
class Command:
    data: Path
    work: Path
    recipe: Recipe
    processes: int


def read_command(description: str) -> Command:
    """Parse the arguments, make the work folder and leave this process's id there as `pid`."""
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with books/ and stories")
    parser.add_argument("--work", type=Path, required=True, help="folder for caches and checkpoints")
    parser.add_argument("--recipe", type=Path, default=RECIPE_FILE)
    parser.add_argument("--processes", type=int, default=default_size())
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    (args.work / "pid").write_text(str(os.getpid()), encoding="utf-8")
    return Command(args.data, args.work, load_recipe(args.recipe), args.processes)
