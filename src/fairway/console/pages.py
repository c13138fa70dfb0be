"""The console's files as pages for `server.create_app`.

Read once, from beside this module. Nothing here is made from data, so the files need no key: what
they show, they ask the API for.
"""

from __future__ import annotations

from pathlib import Path

from fairway.server.pages import Page

FOLDER = Path(__file__).parent
# Where it is served, the file, and what it is.
FILES = (
    ("/", "index.html", "text/html"),
    ("/app.js", "app.js", "text/javascript"),
    ("/page.js", "page.js", "text/javascript"),
    ("/style.css", "style.css", "text/css"),
    ("/docs", "docs.html", "text/html"),
    ("/docs.js", "docs.js", "text/javascript"),
    ("/favicon.svg", "favicon.svg", "image/svg+xml"),
)


def console_pages() -> tuple[Page, ...]:
    """Chat at `/`, the API's description at `/docs`."""
    return tuple(Page(path, (FOLDER / name).read_bytes(), media_type) for path, name, media_type in FILES)
