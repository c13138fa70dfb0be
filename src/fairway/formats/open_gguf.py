"""A GGUF file (or the parts it was split into) as a `Bundle`: everything is in its metadata."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairway.errors import FormatError
from fairway.formats.bundle import Bundle, GenerationDefaults, TokenizerSource
from fairway.formats.end_of_text import end_of_text_ids, gguf_special_tokens, gguf_stated
from fairway.formats.gguf import GgufFile, open_gguf
from fairway.formats.gguf_config import config_from_gguf
from fairway.formats.gguf_keys import Keys
from fairway.formats.gguf_tensors import GgufTensors
from fairway.formats.gguf_values import HINT
from fairway.formats.lineage import GGUF_KEY, Lineage, parse_lineage
from fairway.formats.pooling import gguf_pooling
from fairway.formats.sidecars import generation_defaults

PART = re.compile(r"^(.*)-(\d{5})-of-(\d{5})\.gguf$")
MAX_PARTS = 1000
SAMPLING_KEYS = {
    "temperature": "temp",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "penalty_repeat",
}


def gguf_bundle(path: Path) -> Bundle:
    """Opens every part's header; the config and the tokenizer come from the first."""
    files = open_parts(path)
    metadata = files[0].metadata
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise FormatError(f"{path} does not state its general.architecture.", hint=HINT)
    keys = Keys(path, metadata, architecture)
    heads = keys.integer("attention.head_count") or 0
    tensors = GgufTensors(files, architecture, heads, keys.integer("attention.head_count_kv") or heads)
    lineage, warnings = _lineage(path, metadata)
    tokenizer = {key: value for key, value in metadata.items() if key.startswith("tokenizer.")}
    return Bundle(
        name=_text(metadata, "general.name") or path.stem,
        path=path,
        container="gguf",
        config=config_from_gguf(keys, tensors.gguf_infos, tensors.read_rope_factors()),
        tensors=tensors,
        tokenizer=TokenizerSource("gguf", metadata=tokenizer) if has_vocabulary(metadata) else None,
        chat_template=_text(metadata, "tokenizer.chat_template"),
        generation=_generation(metadata),
        end_of_text_ids=end_of_text_ids(gguf_stated(metadata), gguf_special_tokens(metadata)),
        licence=_text(metadata, "general.license"),
        sources=tuple(file.source for file in files),
        pooling=gguf_pooling(metadata, architecture),
        lineage=lineage,
        warnings=_warnings(metadata, tensors) + warnings,
    )


def _lineage(path: Path, metadata: Mapping[str, Any]) -> tuple[Lineage | None, tuple[str, ...]]:
    stated = _text(metadata, GGUF_KEY)
    try:
        return (parse_lineage(stated.encode(), f"{GGUF_KEY} of {path}") if stated else None), ()
    except FormatError as error:
        return None, (error.message,)


def _warnings(metadata: Mapping[str, Any], tensors: GgufTensors) -> tuple[str, ...]:
    kind = _text(metadata, "general.type")
    if kind not in (None, "model"):
        return (f"The file says that it is of type {kind[:40]!r}, not a model of its own.",)
    return () if tensors.infos else ("The file holds a vocabulary and no weights.",)


def has_vocabulary(metadata: Mapping[str, Any]) -> bool:
    return isinstance(metadata.get("tokenizer.ggml.tokens"), list)


def open_parts(path: Path) -> list[GgufFile]:
    """The file itself, or all parts of a split model when `path` is one of them."""
    match = PART.match(path.name)
    if match is None:
        return [_whole(open_gguf(path))]
    stem, count = match.group(1), int(match.group(3))
    if not 1 <= count <= MAX_PARTS or not 1 <= int(match.group(2)) <= count:
        raise FormatError(f"{path} is an impossible part number.", hint="Rename the file.")
    paths = [path.with_name(f"{stem}-{part:05d}-of-{count:05d}.gguf") for part in range(1, count + 1)]
    missing = [part.name for part in paths if not part.exists()]
    if missing:
        raise FormatError(
            f"{path} is one of {count} parts and {missing[0]} is missing.", hint="Download all parts."
        )
    files = [open_gguf(part) for part in paths]
    for number, file in enumerate(files):
        if (file.metadata.get("split.no"), file.metadata.get("split.count")) != (number, count):
            raise FormatError(f"{file.source.path} is not part {number + 1} of {count}.", hint=HINT)
    names = [name for file in files for name in file.tensors]
    if len(set(names)) != len(names):
        raise FormatError(f"Two parts of {path} hold the same tensor.", hint=HINT)
    return files


def _whole(file: GgufFile) -> GgufFile:
    count = file.metadata.get("split.count", 0)
    if type(count) is int and count > 1:
        raise FormatError(
            f"{file.source.path} is one of {count} parts but is not named like one.",
            hint="Give the parts their names back: NAME-00001-of-0000N.gguf.",
        )
    return file


def _generation(metadata: Mapping[str, Any]) -> GenerationDefaults:
    """The keys of general.sampling, under the names that generation_config.json uses."""
    return generation_defaults(
        {name: metadata.get(f"general.sampling.{key}") for name, key in SAMPLING_KEYS.items()}
    )


def _text(metadata: Mapping[str, Any], key: str) -> str | None:
    value = metadata.get(key)
    return value if isinstance(value, str) and value else None
