"""The folder where Fairway remembers what it measured: machines' limits, predictions and what became of them.

Losing it loses nothing but knowledge. The rule: reading never fails, and a write that cannot be done is
left undone.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fairway.formats.atomic import atomic_file


def state_folder(environment: Mapping[str, str] | None = None) -> Path:
    """XDG_STATE_HOME/fairway, or where the system keeps such things."""
    given = os.environ if environment is None else environment
    if home := given.get("XDG_STATE_HOME"):
        return Path(home) / "fairway"
    if sys.platform == "win32" and (local := given.get("LOCALAPPDATA")):
        return Path(local) / "fairway"
    return Path("~/.local/state/fairway").expanduser()


def read_state(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none that can be read."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write_state(path: Path, value: Mapping[str, Any]) -> bool:
    """Whether it could be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as file:
            file.write(json.dumps(value, indent=1).encode())
    except OSError:
        return False
    return True


def append_line(path: Path, value: Mapping[str, Any]) -> None:
    """One JSON object more at the end of a file of lines."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(value) + "\n")


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of such a file; a line that was cut off is left out."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        with contextlib.suppress(ValueError):
            value = json.loads(line)
            if isinstance(value, dict):
                yield value
