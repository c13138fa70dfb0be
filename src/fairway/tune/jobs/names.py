"""Ids as OpenAI writes them, file names that are safe here, and pages of a list."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

UNSAFE = re.compile(r"[^\w.-]+", re.ASCII)
MAX_NAME = 100


class HasId(Protocol):
    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=HasId)


@dataclass(frozen=True)
class Page(Generic[T]):
    """A piece of a list."""

    items: tuple[T, ...]
    has_more: bool


def new_id(prefix: str) -> str:
    """ "file-8c1f..." """
    return f"{prefix}-{secrets.token_hex(12)}"


def is_id(text: str) -> bool:
    """Whether it can be a name in a folder and nothing else."""
    return re.fullmatch(r"[a-z]+-[0-9a-f]{24}", text) is not None


def safe_name(name: str) -> str:
    """The last part of a client's file name, as it can be written anywhere; its ending stays."""
    last = UNSAFE.sub("_", name.replace("\\", "/").rpartition("/")[2]).lstrip(".")
    return last[-MAX_NAME:].lstrip(".") or "data"


def page(items: Sequence[T], after: str | None, limit: int) -> Page[T]:
    """The `limit` items that follow the one whose id is `after`; all from the first where it is gone."""
    start = 0 if after is None else next((at + 1 for at, each in enumerate(items) if each.id == after), 0)
    return Page(tuple(items[start : start + limit]), len(items) > start + limit)
