"""Which of a repository's files a model needs: decided from the list of names alone.

Never pickles (.bin, .pt): they run code when they are read. Never the same weights twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

from fairway.errors import ModelNotFound, UnsupportedError
from fairway.registry.model_id import HubId

INDEX = "model.safetensors.index.json"
SIDECARS = frozenset(
    {
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "tokenizer.model",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.json",
        "vocab.txt",
        "merges.txt",
        "chat_template.jinja",
        "chat_template.json",
        INDEX,
    }
)
# Tried in this order when a repository has many GGUF files and the user named none.
PREFERRED_QUANTS = ("Q4_K_M", "Q4_0", "Q4_K_S", "Q5_K_M", "Q8_0")
SHARD = re.compile(r"-\d{5}-of-(\d{5})(?=\.\w+$)")
PICKLES = (".bin", ".pt", ".pth", ".ckpt")


@dataclass(frozen=True)
class HubFile:
    """A file of a repository as the hub lists it. `digest` is sha256 for large files, a git id for small."""

    name: str
    num_bytes: int | None = None
    digest: str | None = None


@dataclass(frozen=True)
class Choice:
    """The files to fetch, and the one of them that is the model; None when the folder is."""

    files: tuple[HubFile, ...]
    model_file: str | None = None


def choose(model: HubId, files: Sequence[HubFile]) -> Choice:
    """What to fetch. Raises `ModelNotFound` with what there is, `UnsupportedError` for pickles only."""
    ggufs = [file for file in files if file.name.endswith(".gguf") and "mmproj" not in file.name.lower()]
    if model.selector is not None:
        return _selected(model, model.selector, ggufs, files)
    weights = _safetensors(files)
    if weights and any(file.name == "config.json" for file in files):
        return Choice((*(file for file in files if file.name in SIDECARS), *weights))
    if ggufs:
        return _default_gguf(model, ggufs)
    raise _nothing_usable(model, files)


def shards_of(index_text: str, files: Sequence[HubFile]) -> tuple[HubFile, ...]:
    """Of the safetensors files, those that the index names (a repository may hold others as well)."""
    names = set(json.loads(index_text).get("weight_map", {}).values())
    return tuple(file for file in files if not file.name.endswith(".safetensors") or file.name in names)


def num_parts(name: str) -> int:
    """Of how many files this one is a part, by its name."""
    shard = SHARD.search(name)
    return int(shard[1]) if shard else 1


def _safetensors(files: Sequence[HubFile]) -> list[HubFile]:
    top = [file for file in files if file.name.endswith(".safetensors") and "/" not in file.name]
    named = [file for file in top if file.name.startswith("model")]
    return named or top


def _selected(model: HubId, selector: str, ggufs: Sequence[HubFile], files: Sequence[HubFile]) -> Choice:
    exact = [file for file in files if file.name == selector]
    if exact and not selector.endswith(".gguf"):
        sidecars = (file for file in files if file.name in SIDECARS - {INDEX, selector})
        return Choice((*exact, *sidecars), selector)
    found = exact or [file for file in ggufs if _matches(file.name, selector)]
    if len({SHARD.sub("", file.name) for file in found}) != 1:
        raise _no_single_match(model, selector, [file.name for file in found or ggufs], bool(found))
    return _gguf_choice(found, ggufs)


def _matches(name: str, selector: str) -> bool:
    """Whether a GGUF is the quantisation meant: Q4_K_M is a word of `name-Q4_K_M.gguf`, any case."""
    stem = SHARD.sub("", name).removesuffix(".gguf")
    words = rf"(^|[-./]){re.escape(selector)}$"
    return re.search(words, stem, re.IGNORECASE) is not None or fnmatch(name, selector)


def _default_gguf(model: HubId, ggufs: Sequence[HubFile]) -> Choice:
    if len({SHARD.sub("", file.name) for file in ggufs}) == 1:
        return _gguf_choice(ggufs, ggufs)
    for quant in PREFERRED_QUANTS:
        found = [file for file in ggufs if _matches(file.name, quant)]
        if len({SHARD.sub("", file.name) for file in found}) == 1:
            return _gguf_choice(found, ggufs)
    names = [file.name for file in ggufs]
    raise ModelNotFound(f"{model.repo} has {len(names)} GGUF files.", hint=_name_one(model, names))


def _gguf_choice(found: Sequence[HubFile], ggufs: Sequence[HubFile]) -> Choice:
    """All parts of a split file are needed; the first is the one to open."""
    whole = SHARD.sub("", found[0].name)
    parts = sorted((file for file in ggufs if SHARD.sub("", file.name) == whole), key=lambda file: file.name)
    return Choice(tuple(parts), parts[0].name)


def _no_single_match(model: HubId, selector: str, names: Sequence[str], several: bool) -> ModelNotFound:
    count = "several files match" if several else "no file matches"
    hint = _name_one(model, names) if names else "It has no GGUF files; leave out what follows the colon."
    return ModelNotFound(f"In {model.repo} {count} {selector}.", hint=hint)


def _name_one(model: HubId, names: Iterable[str]) -> str:
    shown = sorted(names)[:12]
    return f"Name one: {', '.join(f'{model.repo}:{name}' for name in shown)}"


def _nothing_usable(model: HubId, files: Sequence[HubFile]) -> ModelNotFound | UnsupportedError:
    pickles = [file.name for file in files if file.name.endswith(PICKLES)]
    if pickles:
        return UnsupportedError(
            f"{model.repo} holds its weights only as pickles ({pickles[0]}), which run code when read.",
            hint="Look for a safetensors or GGUF version of this model.",
        )
    return ModelNotFound(f"{model.repo} has neither safetensors with a config.json nor a GGUF file.")
