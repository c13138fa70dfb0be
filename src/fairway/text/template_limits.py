"""How much a chat template may use: processor time, and the size of anything it makes.

Templates come with models from strangers, and a sandbox alone does not stop "x" * 10**12. Every check
here happens before or right after one operation, so a hostile template fails within about a second and
some tens of megabytes. Sizes are counted in characters; a place in a list weighs as much as 64.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from typing import TypeVar

MAX_TEMPLATE_CHARS = 256 << 10
MAX_SIZE = 8 << 20
MAX_FORMAT_CHARS = 64 << 10
MAX_INTEGER_BITS = 4096
MAX_COUNT = 1_000_000
"""Of any width, indent, batch size or precision."""
SECONDS = 1.0
SECONDS_PER_MESSAGE = 0.002
_PLACE = 64
_WIDE_PERCENT = re.compile(r"%[^%a-zA-Z]*(\d{4}|\*)")
_WIDE_BRACES = re.compile(r"\{[^{}:]*:[^{}]*\d{4}|\{[^{}]*\{")
T = TypeVar("T")


class LimitReached(Exception):
    """The template was about to use too much; the message says of what."""


_deadline: ContextVar[float] = ContextVar("template_deadline", default=float("inf"))


def start_clock(num_messages: int) -> None:
    """Processor time of this thread counts, so a busy machine fails nobody."""
    _deadline.set(time.thread_time() + SECONDS + SECONDS_PER_MESSAGE * num_messages)


def tick() -> None:
    """Called for every loop iteration, call and filter."""
    if time.thread_time() > _deadline.get():
        raise LimitReached("it takes too long")


def require_size(size: int) -> None:
    if size > MAX_SIZE:
        raise LimitReached(f"it makes a value of more than {MAX_SIZE} characters")


def checked(value: T) -> T:
    """`value` itself, unless it is too large or would be once written out."""
    if not isinstance(value, bool | float | None):
        _weigh(value, 0, 0)
    return value


def _weigh(value: object, total: int, depth: int) -> int:
    """The size of `value` as text, shared parts counted each time, up to the limit."""
    if isinstance(value, str | bytes):
        total += len(value)
    elif isinstance(value, int):
        if value.bit_length() > MAX_INTEGER_BITS:
            raise LimitReached(f"it makes an integer of more than {MAX_INTEGER_BITS} bits")
    elif isinstance(value, Mapping | list | tuple | set | frozenset):
        if depth > 200:
            raise LimitReached("it nests values more than 200 deep")
        total += _PLACE * len(value)
        require_size(total)
        parts: Iterable[object] = value
        if isinstance(value, Mapping):
            parts = [part for item in value.items() for part in item]
        for part in parts:
            total = _weigh(part, total, depth + 1)
    require_size(total)
    return total


def check_counts(arguments: Iterable[object]) -> None:
    for argument in arguments:
        if isinstance(argument, int) and abs(argument) > MAX_COUNT:
            raise LimitReached(f"it asks for {argument} of something")


def check_product(left: object, right: object) -> None:
    """Before `left * right`: repetition of text or lists, and large integers."""
    for value, count in ((left, right), (right, left)):
        if isinstance(count, int) and isinstance(value, str | list | tuple):
            require_size((len(value) * (1 if isinstance(value, str) else _PLACE)) * max(count, 0))


def check_power(left: object, right: object) -> None:
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() * abs(right) > MAX_INTEGER_BITS:
        raise LimitReached(f"it makes an integer of more than {MAX_INTEGER_BITS} bits")


def check_percent_format(text: object) -> None:
    """Before "%": field widths come from the text, so they are looked for there."""
    if isinstance(text, str) and (
        len(text) > MAX_FORMAT_CHARS or _WIDE_PERCENT.search(text.replace("%%", ""))
    ):
        raise LimitReached("it uses a format with a very wide field")


def check_braces_format(text: str) -> None:
    """Before str.format: no wide fields, and no widths that are fields themselves."""
    if len(text) > MAX_FORMAT_CHARS or _WIDE_BRACES.search(text.replace("{{", "")):
        raise LimitReached("it uses a format with a very wide field")


def check_replacement(text: object, old: object, new: object) -> None:
    text, old, new = str(text), str(old), str(new)
    require_size(len(text) + text.count(old) * len(new))


def check_indent(text: object, width: object) -> None:
    columns = width if isinstance(width, int) else len(str(width))
    require_size(len(str(text)) + (str(text).count("\n") + 1) * columns)


def check_join(separator: object, items: list[object]) -> None:
    require_size(_weigh(items, 0, 0) + len(str(separator)) * len(items))


def check_text_method(text: str, name: str, arguments: tuple[object, ...]) -> None:
    """Before a method of str that can return far more than it is given."""
    check_counts(arguments)
    if name == "replace" and len(arguments) > 1:
        check_replacement(text, arguments[0], arguments[1])
    elif name == "expandtabs":
        check_replacement(
            text, "\t", " " * (arguments[0] if arguments and isinstance(arguments[0], int) else 8)
        )
    elif name == "join" and arguments and isinstance(arguments[0], list):
        check_join(text, arguments[0])
