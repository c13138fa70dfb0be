"""How an embedding model turns its tokens' vectors into one, as sentence-transformers or GGUF states it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairway.formats.json_text import parse_object, read_object
from fairway.formats.source import Source

GGUF_TYPES = ("none", "mean", "cls", "last", "rank")
"""`{architecture}.pooling_type` by its number."""
MODES = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt",
    "pooling_mode_weightedmean_tokens": "weighted_mean",
}
MODULES = "modules.json"


@dataclass(frozen=True)
class Pooling:
    """`kind` is "mean", "cls", "last", "max", "rank", "none", ...; several are joined by "+"."""

    kind: str
    normalize: bool | None = None
    """Whether the vector is brought to length one; None where the file does not say."""


def folder_pooling(folder: Path) -> Pooling | None:
    """From modules.json and the pooling module's config.json; None for what is no embedding model."""
    modules = _modules(folder / MODULES)
    path = next((str(row.get("path")) for row in modules if _is(row, "Pooling")), None)
    if path is None or "/" in path or "\\" in path or path.startswith(".") or "\0" in path:
        return None
    config_path = folder / path / "config.json"
    config = read_object(config_path) if config_path.is_file() else {}
    kinds = [kind for mode, kind in MODES.items() if config.get(mode) is True]
    return Pooling("+".join(kinds) or "mean", any(_is(row, "Normalize") for row in modules))


def gguf_pooling(metadata: Mapping[str, Any], architecture: str) -> Pooling | None:
    value = metadata.get(f"{architecture}.pooling_type")
    return Pooling(GGUF_TYPES[value]) if type(value) is int and 0 < value < len(GGUF_TYPES) else None


def _modules(path: Path) -> list[dict[str, Any]]:
    """A list of objects, which the reader of JSON objects is given inside one."""
    if not path.is_file():
        return []
    source = Source(path)
    raw = source.read(0, min(source.size, 1 << 20))
    rows = parse_object(b'{"modules":' + raw + b"}", str(path))["modules"]
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _is(row: Mapping[str, Any], name: str) -> bool:
    return str(row.get("type")).endswith(f".{name}")
