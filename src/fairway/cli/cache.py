"""`fairway cache`: what is kept on disk (packed weights, TensorRT engines), and `fairway cache clear`.

Nothing here is needed to answer: what is cleared is packed or built again when it is asked for.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.options import HELP, engine_settings, json_option
from fairway.errors import ModelNotFound

if TYPE_CHECKING:
    from fairway.models.packed_cache import Entry, PackedCache

DAY_S = 86_400.0
UNITS = ((DAY_S, "day"), (3600.0, "hour"), (60.0, "minute"))


@click.group(context_settings=HELP, invoke_without_command=True)
@json_option
@click.pass_context
def cache(context: click.Context, as_json: bool) -> None:
    """List the packed weights that are kept on disk, so that a model starts at once, and TensorRT's engines.

    The setting engine.cache_folder says where, engine.cache_gb how much of packed weights; --no-cache keeps a
    start from using them. Engines stay until they are cleared.
    """
    if context.invoked_subcommand is not None:
        return
    kept = _cache()
    if as_json:
        click.echo(json.dumps(_to_dict(kept, _entries(kept)), indent=1))
    else:
        _print(kept, _entries(kept))


@cache.command(context_settings=HELP)
@click.argument("model", required=False)
@click.option(
    "--older-than", type=click.FloatRange(0), metavar="DAYS", help="Only what was not used for so long."
)
@json_option
def clear(model: str | None, older_than: float | None, as_json: bool) -> None:
    """Remove packed weights and engines: all, or those of MODEL as the list names it, or by its path.

    A model that is running keeps what it has; the space is free when it ends.
    """
    kept = _cache()
    entries = _entries(kept)
    chosen = [entry for entry in entries if _is_of(entry, model) and _is_old(entry, older_than)]
    if model is not None and not any(_is_of(entry, model) for entry in entries):
        raise ModelNotFound(f"Nothing is kept of {model}.", hint="See what is: fairway cache")
    for entry in chosen:
        _remove(entry.path)
    if as_json:
        click.echo(json.dumps(_to_dict(kept, chosen), indent=1))
    else:
        freed = sum(entry.num_bytes for entry in chosen)
        click.echo(f"Removed {len(chosen)} of {kept.folder}, {_size(freed)}.")


def _cache() -> PackedCache:
    from fairway.models.packed_cache import PackedCache

    settings = engine_settings({})
    return PackedCache(settings.packed_folder, settings.packed_bytes)


def _entries(kept: PackedCache) -> list[Entry]:
    from fairway.convert.tensorrt_engine import EngineCache

    return kept.entries() + EngineCache(engine_settings({}).engines_folder).entries()


def _remove(path: Path) -> None:
    """A file of packed weights, or the folder of an engine."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_of(entry: Entry, model: str | None) -> bool:
    if model is None:
        return True
    lies_at = Path(entry.about.get("path", ""))
    path = Path(model).expanduser().resolve()
    return model == entry.about.get("model") or path in (lies_at, lies_at.parent)


def _is_old(entry: Entry, days: float | None) -> bool:
    return days is None or time.time() - entry.used_s >= days * DAY_S


def _to_dict(kept: PackedCache, entries: list[Entry]) -> dict[str, Any]:
    rows = [
        {**entry.about, "file": entry.path.name, "num_bytes": entry.num_bytes, "last_used_s": entry.used_s}
        for entry in entries
    ]
    total = sum(entry.num_bytes for entry in entries)
    return {"folder": str(kept.folder), "total_bytes": total, "max_bytes": kept.max_bytes, "entries": rows}


def _print(kept: PackedCache, entries: list[Entry]) -> None:
    from rich.console import Console
    from rich.table import Table

    if not entries:
        click.echo(f"Nothing is kept in {kept.folder}.")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("model", "weights", "size", "last used"):
        table.add_column(title, justify="right" if title == "size" else "left", overflow="fold")
    for entry in entries:
        model, weights = entry.about.get("model", "damaged"), entry.about.get("weights", "")
        table.add_row(str(model), str(weights), _size(entry.num_bytes), _ago(entry.used_s))
    Console(highlight=False).print(table)
    total = sum(entry.num_bytes for entry in entries)
    click.echo(f"{_size(total)} of {_size(kept.max_bytes)} in {kept.folder}")


def _size(num_bytes: int) -> str:
    from fairway.map.plan import size

    return size(num_bytes)


def _ago(used_s: float) -> str:
    seconds = time.time() - used_s
    for unit_s, name in UNITS:
        if seconds >= unit_s:
            number = int(seconds // unit_s)
            return f"{number} {name}{'s' * (number > 1)} ago"
    return "just now"
