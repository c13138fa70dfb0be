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
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt",
    "pooling_mode_weightedmean_tokens": "weighted_mean",
    "pooling_mode_lasttoken": "last",
}
"""In the order in which several are joined."""
RENAMED = {"mean_sqrt_len_tokens": "mean_sqrt", "weightedmean": "weighted_mean", "lasttoken": "last"}
"""Kinds as sentence-transformers spells them since it has one key, `pooling_mode`."""
MODULES = "modules.json"


@dataclass(frozen=True)
class Pooling:
    """`kind` is "mean", "cls", "last", "max", "rank", "none", ...; several are joined by "+", in order."""

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
    return Pooling("+".join(_kinds(config)) or "mean", any(_is(row, "Normalize") for row in modules))


def _kinds(config: Mapping[str, Any]) -> list[str]:
    stated = config.get("pooling_mode")
    if stated is None:
        return [kind for flag, kind in MODES.items() if config.get(flag) is True]
    return [RENAMED.get(str(kind), str(kind)) for kind in (stated if isinstance(stated, list) else [stated])]


def other_modules(folder: Path) -> tuple[str, ...]:
    """What an embedding model does beside its transformer, pooling and normalising, by name."""
    known = ("Transformer", "Pooling", "Normalize")
    rows = _modules(folder / MODULES)
    names = [str(row.get("type")).rpartition(".")[2] for row in rows]
    return tuple(name for name in names if name not in known)


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
