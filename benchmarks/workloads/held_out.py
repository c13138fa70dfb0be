"""Text that a model has never seen, cut into windows of its whole context.

The built-in model is asked about the books that its recipe holds out, babyllama about the stories of
TinyStories' validation split, on which it was not trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from recipes.builtin_model.settings import load_recipe
from recipes.builtin_model.text import read_book, read_stories

from benchmarks.peers.protocol import Unavailable
from fairway.tensors import I32
from fairway.text.tokenizer import Tokenizer

STORIES = "tinystories-valid.txt"


def held_out_texts(model: str, folder: Path) -> list[str]:
    """The documents for a model of `comparison.shapes`."""
    if not folder.is_dir():
        raise Unavailable(f"{folder} is not on this machine")
    if model == "builtin":
        return [read_book(folder / "books" / name) for name in load_recipe().text.held_out_books]
    return ["\n\n".join(read_stories(folder / STORIES))]


def windows(tokenizer: Tokenizer, texts: Sequence[str], length: int, count: int) -> list[I32]:
    """`count` windows of `length` ids, evenly from all texts; each begins with BOS if there is one."""
    begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    size, found = length - len(begin), []
    for ids in (tokenizer.encode(text, add_special_tokens=False) for text in texts):
        found += [begin + ids[start : start + size] for start in range(0, len(ids) - size + 1, size)]
    if not found:
        raise Unavailable(f"the text is shorter than {length} tokens")
    chosen = np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int)
    return [np.array(found[index], np.int32) for index in chosen]
