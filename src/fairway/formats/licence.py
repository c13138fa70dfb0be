"""Under which licence a model comes: what its card says, else the first line of its LICENSE file."""

from __future__ import annotations

import re
from pathlib import Path

from fairway.formats.source import Source

HEAD_BYTES = 64 << 10
FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING")
FIELD = re.compile(r"^(license(?:_name)?):\s*[\"']?([^\"'\n#]+)", re.MULTILINE)


def folder_licence(folder: Path) -> str | None:
    """From README.md's front matter, or the first line of a licence file, or None."""
    return _from_card(folder / "README.md") or next(
        (line for name in FILES if (line := _first_line(folder / name))), None
    )


def _from_card(path: Path) -> str | None:
    text = _head(path)
    if not text.startswith("---"):
        return None
    front = text[3:].split("\n---", 1)[0]
    fields = {name: value.strip() for name, value in FIELD.findall(front)}
    stated = fields.get("license")
    return fields.get("license_name", stated) if stated == "other" else stated


def _first_line(path: Path) -> str | None:
    return next((line.strip(" #\t")[:120] for line in _head(path).splitlines() if line.strip(" #\t")), None)


def _head(path: Path) -> str:
    if not path.is_file():
        return ""
    source = Source(path)
    text = source.read(0, min(source.size, HEAD_BYTES)).decode("utf-8", "replace")
    return text.replace("\r\n", "\n")
