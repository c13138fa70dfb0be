"""One file that needs nothing else: style and script inside, no address that a browser would fetch.

Shared by every page. The rule: a policy in the page itself forbids all loading, and allows no script but
this one, by its digest.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from fairway import __version__
from fairway.report.html import Child, Html, el, join, raw

FOLDER = Path(__file__).parent


def page(title: str, kind: str, *body: Child, script: str | None = None, style: str | None = None) -> str:
    """The whole document. `kind` stands beside the name in the bar; `script` and `style`, which adds to the
    common stylesheet, are files of this folder.
    """
    sheets = ["page.css"] if style is None else ["page.css", style]
    rules = "\n".join((FOLDER / name).read_text("utf-8") for name in sheets)
    code = "" if script is None else (FOLDER / script).read_text("utf-8")
    head = join(
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy(code)),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", title),
        el("style", raw(rules)),
    )
    bar = el("header", el("strong", "Fairway"), el("span", kind), class_="bar")
    foot = el("footer", f"Made by Fairway {__version__}. This page loads nothing and sends nothing.")
    parts = [el("head", head), el("body", bar, el("main", *body), foot, code and el("script", raw(code)))]
    return "<!doctype html>\n" + el("html", *parts, lang="en") + "\n"


def policy(code: str) -> str:
    """What a browser may do with a page whose script is `code`: run that, use its own style, load nothing."""
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src '{_digest(code)}'"


def facts(*rows: tuple[str, Child]) -> Html:
    """Names and values in two columns."""
    return el("dl", ((el("dt", name), el("dd", value)) for name, value in rows), class_="facts")


def table(head: tuple[str, ...], rows: list[tuple[Child, ...]], *, numbers: int = 0) -> Html:
    """The last `numbers` columns are figures."""
    first = len(head) - numbers
    columns = [el("th", name, scope="col", class_="n" if i >= first else None) for i, name in enumerate(head)]
    lines = (
        el("tr", (el("td", cell, class_="n" if i >= first else None) for i, cell in enumerate(row)))
        for row in rows
    )
    return el("div", el("table", el("thead", el("tr", columns)), el("tbody", lines)), class_="scroll")


def section(title: str, *children: Child, note: str | None = None) -> Html:
    return el("section", el("h2", title), note and el("p", note, class_="note"), *children)


def count(number: float) -> str:
    """7241732096 -> "7.24 B"."""
    for unit, name in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:.3g} {name}"
    return f"{number:g}"


def size(num_bytes: int) -> str:
    """4294967296 -> "4.00 GiB"."""
    for unit, name in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if num_bytes >= unit:
            return f"{num_bytes / unit:.2f} {name}"
    return f"{num_bytes} bytes"


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
