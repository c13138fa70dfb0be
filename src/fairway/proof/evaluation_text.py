"""The text that models are compared on where nobody gives another: varied, and the project's own.

Prose, dialogue, letters, code, tables, numbers and several languages, in sections divided by a line of
"%%". The rule: nothing in it was copied from anywhere, so no model has been trained on it.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

NAME = "Fairway's evaluation text"
DIVIDER = "\n%%\n"


@cache
def sections() -> tuple[str, ...]:
    """The sections in order, each a text of its own."""
    whole = Path(__file__).with_name("evaluation.txt").read_text("utf-8")
    return tuple(part.strip("\n") + "\n" for part in whole.split(DIVIDER))


def mixed() -> str:
    """All of it as one text, so that windows begin anywhere."""
    return "\n".join(sections())
