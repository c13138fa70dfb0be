"""Find and read the text: whole books and single stories, split into training and held out.

Knows the folder's file names and nothing about tokens. The rule: what is held out here is never
seen by the tokenizer, the pre-training or the instruction pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .settings import TextPlan

STORY_MARK = "<|endoftext|>"


@dataclass(frozen=True)
class Texts:
    """Documents as strings; `held_out_books` is keyed by file name."""

    books: list[str]
    stories: list[str]
    held_out_books: dict[str, str]
    held_out_stories: list[str]


def read_texts(folder: Path, plan: TextPlan) -> Texts:
    """Read books/*.md and tinystories-valid.txt below `folder`."""
    names = sorted(path.name for path in (folder / "books").glob("*.md"))
    missing = set(plan.held_out_books) - set(names)
    if missing:
        raise FileNotFoundError(f"held-out books are not in {folder / 'books'}: {sorted(missing)}")
    kept = [name for name in names if name not in plan.held_out_books]
    stories = read_stories(folder / "tinystories-valid.txt")
    cut = len(stories) - round(len(stories) * plan.held_out_story_share)
    return Texts(
        books=[
            read_book(folder / "books" / name, keep_crlf=i % plan.keep_crlf_every == 0)
            for i, name in enumerate(kept)
        ],
        stories=stories[:cut],
        held_out_books={name: read_book(folder / "books" / name) for name in plan.held_out_books},
        held_out_stories=stories[cut:],
    )


def read_book(path: Path, keep_crlf: bool = False) -> str:
    """One book; line ends become \\n unless they are to be kept. Nothing else is changed."""
    with path.open(encoding="utf-8", newline="" if keep_crlf else None) as file:
        return file.read()


def read_stories(path: Path) -> list[str]:
    """The stories of one file, without the marks and blank lines between them."""
    parts = path.read_text(encoding="utf-8").split(STORY_MARK)
    return [story for part in parts if (story := part.strip())]
