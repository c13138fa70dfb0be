"""HTML as values: elements built from names, attributes and children.

The rule: a string is text and is escaped; only what these functions made is markup. So nothing that a
model's file says can become an element.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import TypeAlias

EMPTY = {"br", "img", "input", "meta", "link", "line", "rect", "circle", "path", "polyline", "col"}


class Html(str):
    """Markup that is safe to write as it is."""

    __slots__ = ()


Child: TypeAlias = "str | int | float | Html | Iterable[Child] | None"
Attribute: TypeAlias = "str | int | float | bool | None"


def el(tag: str, /, *children: Child, **attributes: Attribute) -> Html:
    """An element. `class_` and `for_` lose their underscore, others in the middle become hyphens.

    True is an attribute without a value; None and False leave it out.
    """
    opened = f"<{tag}{''.join(_attribute(*pair) for pair in attributes.items())}>"
    if tag in EMPTY and not children:
        return Html(opened[:-1] + "/>")
    return Html(opened + join(*children) + f"</{tag}>")


def join(*children: Child) -> Html:
    """Children one after the other."""
    return Html("".join(_written(child) for child in children))


def raw(markup: str) -> Html:
    """Markup of our own: a stylesheet, a script."""
    return Html(markup)


def _written(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, str):
        return html.escape(_visible(child), quote=False)
    if isinstance(child, int | float):
        return str(child)
    return "".join(_written(each) for each in child)


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    key = name.rstrip("_").replace("_", "-")
    return f" {key}" if value is True else f' {key}="{html.escape(_visible(str(value)))}"'


def _visible(text: str) -> str:
    """Control characters, lone surrogates and marks that turn the direction of text, spelled out."""
    return "".join(f"\\u{ord(char):04x}" if _is_hidden(char) else char for char in text)


def _is_hidden(char: str) -> bool:
    code = ord(char)
    is_control = (code < 0x20 and char not in "\n\t") or 0x7F <= code < 0xA0
    return is_control or 0xD800 <= code < 0xE000 or 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069
