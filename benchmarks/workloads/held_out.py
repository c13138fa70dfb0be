"""Text that a model has never seen.

The built-in model is asked about the books that its recipe holds out, babyllama about the stories of
TinyStories' validation split, on which it was not trained.
"""

from __future__ import annotations

from pathlib import Path

from recipes.builtin_model.settings import load_recipe
from recipes.builtin_model.text import read_book, read_stories

from benchmarks.peers.protocol import Unavailable

STORIES = "tinystories-valid.txt"


def held_out_texts(model: str, folder: Path) -> list[str]:
    """The documents for a model of `comparison.shapes`."""
    if not folder.is_dir():
        raise Unavailable(f"{folder} is not on this machine")
    if model == "builtin":
        return [read_book(folder / "books" / name) for name in load_recipe().text.held_out_books]
    return ["\n\n".join(read_stories(folder / STORIES))]
