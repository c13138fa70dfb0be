"""MODEL, as a user writes it, to files on this disk.

Nothing means the built-in model; an existing path is itself; `org/name` is fetched from the hub
unless it is here already. What cannot be found is named together with what is near it.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fairway.errors import ModelNotFound
from fairway.registry.model_id import BUILTIN, HubId, looks_like_path, parse_hub_id
from fairway.registry.progress import Progress

BUILTIN_FOLDER = Path(__file__).parents[1] / "builtin"


@dataclass(frozen=True)
class Located:
    """Where a model lies, and the name it is served under; None: the bundle's own."""

    path: Path
    origin: Literal["builtin", "path", "hub"]
    name: str | None = None


def resolve(model: str | None, progress: Progress | None = None) -> Located:
    """Raises `ModelNotFound`, `OfflineError`, `NotAuthorized`, `UnsupportedError` or `DoesNotFit`."""
    if model is None or model == BUILTIN:
        return _builtin()
    path = Path(model).expanduser()
    if path.exists():
        return Located(path, "path")
    hub_id = None if looks_like_path(model) else parse_hub_id(model)
    if hub_id is None:
        raise _not_found(model, path)
    return _from_hub(hub_id, path, progress)


def on_disk(model: str) -> Path:
    """Where a model lies already, for those who only look at it: nothing is downloaded.

    A path that does not exist is returned as it is; whoever opens it says so.
    """
    path = Path(model).expanduser()
    if model == BUILTIN and not path.exists():
        return BUILTIN_FOLDER
    hub_id = None if path.exists() or looks_like_path(model) else parse_hub_id(model)
    if hub_id is None:
        return path
    from fairway.registry.hub import cache_folder
    from fairway.registry.hub_cache import cached_model

    return cached_model(cache_folder(), hub_id) or path


def _builtin() -> Located:
    if not (BUILTIN_FOLDER / "config.json").is_file():
        raise ModelNotFound(
            f"This installation has no built-in model in {BUILTIN_FOLDER}.",
            hint="Name a model: a folder, a .gguf file or a hub id such as org/name.",
        )
    return Located(BUILTIN_FOLDER, "builtin")


def _from_hub(hub_id: HubId, path: Path, progress: Progress | None) -> Located:
    from fairway.registry.hub import download, known_repos

    try:
        return Located(download(hub_id, progress), "hub", str(hub_id))
    except ModelNotFound as error:
        near = _near(hub_id.repo, known_repos()) or _near(path.name, _siblings(path))
        if not near or hub_id.selector is not None:
            raise
        raise ModelNotFound(
            error.message, hint=f"Did you mean {near}? {error.hint or ''}".rstrip()
        ) from error


def _not_found(model: str, path: Path) -> ModelNotFound:
    if looks_like_path(model):
        near = _near(path.name, _siblings(path))
        hint = (
            f"Did you mean {path.parent / near}?" if near else f"In {path.parent} there is nothing like it."
        )
        return ModelNotFound(f"There is no file or folder {model}.", hint=hint)
    from fairway.registry.hub import known_repos

    near = _near(model, [*known_repos(), *_siblings(path), BUILTIN])
    hint = f"Did you mean {near}? " if near else ""
    return ModelNotFound(
        f"{model} is neither a file or folder here nor a hub id.",
        hint=f"{hint}A hub id has the form org/name.",
    )


def _siblings(path: Path) -> list[str]:
    """What a mistyped path may have meant: models and folders beside it."""
    try:
        entries = list(path.parent.iterdir())
    except OSError:
        return []
    return [entry.name for entry in entries if entry.is_dir() or entry.suffix in (".gguf", ".safetensors")]


def _near(name: str, known: list[str]) -> str | None:
    """The closest of `known`; the last part of a hub id may stand for the whole."""
    by_text = {candidate.lower(): candidate for candidate in known}
    by_text |= {candidate.rsplit("/", 1)[-1].lower(): candidate for candidate in known}
    found = difflib.get_close_matches(name.lower(), by_text, n=1, cutoff=0.55)
    found = found or difflib.get_close_matches(name.rsplit("/", 1)[-1].lower(), by_text, n=1, cutoff=0.6)
    return by_text[found[0]] if found else None
