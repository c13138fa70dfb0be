"""The hub's cache folder on this disk: what is already there, read without network.

The layout is huggingface_hub's own (models--org--name/{blobs,refs,snapshots}), so what other tools
have downloaded is found and what Fairway downloads is found by them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from fairway.errors import ModelNotFound, UnsupportedError
from fairway.registry.hub_files import INDEX, HubFile, choose, num_parts
from fairway.registry.model_id import HubId

REVISION = "main"


def repo_folder(cache: Path, repo: str) -> Path:
    return cache / f"models--{repo.replace('/', '--')}"


def cached_repos(cache: Path) -> list[str]:
    """Every repository of which something is here."""
    return [folder.name[len("models--") :].replace("--", "/", 1) for folder in cache.glob("models--*--*")]


def cached_model(cache: Path, model: HubId) -> Path | None:
    """The folder or file of a model whose every needed file is on this disk, else None."""
    snapshot = _snapshot(repo_folder(cache, model.repo))
    if snapshot is None:
        return None
    try:
        choice = choose(model, [HubFile(name) for name in _names(snapshot)])
    except (ModelNotFound, UnsupportedError):
        return None
    if choice.model_file is not None:
        return snapshot / choice.model_file if len(choice.files) >= num_parts(choice.model_file) else None
    return snapshot if _is_complete(snapshot) else None


def _snapshot(folder: Path) -> Path | None:
    reference = folder / "refs" / REVISION
    if not reference.is_file():
        return None
    snapshot = folder / "snapshots" / reference.read_text("utf-8").strip()
    return snapshot if snapshot.is_dir() else None


def _names(snapshot: Path) -> Iterator[str]:
    """Files that are really there: a link to a missing blob does not count."""
    return (path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file())


def _is_complete(snapshot: Path) -> bool:
    index = snapshot / INDEX
    if not index.is_file():
        return True
    shards = set(json.loads(index.read_text("utf-8")).get("weight_map", {}).values())
    return all((snapshot / shard).is_file() for shard in shards)
