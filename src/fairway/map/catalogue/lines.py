"""In which line of a TOML file a table or a key begins, as far as looking at line beginnings tells.

    lines_of(text)["tools", "vllm"]["reads"]        # 12; the table's own line is under ""

Python's reader of TOML keeps no lines. What is not found here is left out, never guessed.
"""

from __future__ import annotations

import re

HEADER = re.compile(r"""\s*\[\s*([\w-]+)\s*(?:\.\s*["']?([^"'\]]+?)["']?\s*)?\]""")
KEY = re.compile(r"""\s*["']?([\w-]+)["']?\s*=""")


def lines_of(text: str) -> dict[tuple[str, str], dict[str, int]]:
    """(kind, id) -> key -> line, counted from 1."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    kind, table = "", ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := HEADER.match(line):
            kind, table = header[1], header[2] or ""
            found.setdefault((kind, ""), {"": number})
            found.setdefault((kind, table), {"": number})
        elif key := KEY.match(line):
            place = found.setdefault((kind, table), {"": number})
            place.setdefault(key[1], number)
            if not table:  # an entry on one line below [kind]
                found.setdefault((kind, key[1]), {"": number})
    return found
