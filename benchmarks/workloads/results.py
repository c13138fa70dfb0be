"""Where results go: a dated Markdown page, the same as JSON with every value, and a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results" / "workloads"


def now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def save(folder: Path, name: str, data: Mapping[str, Any], page: str, picture: str) -> Path:
    """Writes all three under the day of `data["date"]`; the path of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"{data['date'][:10]}-{name}"
    stem.with_name(stem.name + ".json").write_text(json.dumps(data, indent=1) + "\n", "utf-8")
    stem.with_name(stem.name + ".svg").write_text(picture, "utf-8")
    path = stem.with_name(stem.name + ".md")
    path.write_text(page, "utf-8")
    return path


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown; the first column to the left, numbers to the right."""
    lines = [_line(head), "|---" + "|---:" * (len(head) - 1) + "|", *map(_line, rows)]
    return "\n".join(lines)


def facts(values: Mapping[str, Any]) -> str:
    """What the numbers depend on, as a list."""
    return "\n".join(f"- {key}: {value}" for key, value in values.items())


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
