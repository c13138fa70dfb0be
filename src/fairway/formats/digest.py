"""What a bundle contains, as one digest that is the same on every machine.

SHA-256 over the canonical JSON of its parts: config, tokenizer, chat template, generation defaults,
end-of-text ids, pooling, licence, a preset where there is one, and the weights as [name, type, shape,
digest] in order of names. A tensor's digest is SHA-256 over the SHA-256 of each MiB of its stored
bytes, rows in Hugging Face's order. So neither sharding, order, container metadata, time nor lineage
change it: content does.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from fairway.formats.bundle import Bundle, Preset, StoredTensors, TensorInfo, TokenizerSource
from fairway.formats.floats import Bytes
from fairway.formats.source import Source
from fairway.tensors import DenseTensor
from fairway.text.tokenizer_files import read_object

Progress: TypeAlias = Callable[[int, int, str], None]

PREFIX = "sha256:"
PIECE_BYTES = 1 << 20
WINDOW_BYTES = 64 << 20
"""Of a mapped file that count as this process's memory while they are hashed."""
NOT_CONTENT = ("_name_or_path", "transformers_version")
"""Keys of config.json that say who wrote it, not what the model computes."""
TEMPLATE_KEY = "chat_template"


@dataclass(frozen=True)
class ContentDigest:
    """The digest of a bundle, and of each part: two containers with equal weights share that one."""

    value: str
    parts: Mapping[str, str]


def bundle_digest(bundle: Bundle, progress: Progress | None = None) -> ContentDigest:
    """Reads every tensor, on all cores. `progress` is called with (bytes done, bytes in all, name)."""
    infos = bundle.tensors.infos
    total, done = sum(info.num_bytes for info in infos.values()), 0
    digests: dict[str, str] = {}
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        for name in sorted(infos):
            digests[name] = tensor_digest(bundle, name, threads)
            done += infos[name].num_bytes
            if progress:
                progress(done, total, name)
    return digest_of_parts(bundle, digests)


def digest_of_parts(
    bundle: Bundle, tensor_digests: Mapping[str, str], small: Mapping[str, str] | None = None
) -> ContentDigest:
    """The digest of a bundle whose tensors have been hashed already, by their Hugging Face names.

    `small`: the other parts' digests, where `small_parts` has made them before.
    """
    parts = {
        "weights": weights_digest(bundle.tensors.infos, tensor_digests),
        **(small or small_parts(bundle)),
    }
    return ContentDigest(PREFIX + json_digest(parts), parts)


def small_parts(bundle: Bundle) -> dict[str, str]:
    """Digests of everything but the weights."""
    config = {key: value for key, value in bundle.config.items() if key not in NOT_CONTENT}
    preset = {} if bundle.preset is None else {"preset": json_digest(_preset_content(bundle.preset))}
    return {
        "config": json_digest(config),
        "tokenizer": json_digest(_tokenizer_content(bundle.tokenizer)),
        "chat_template": json_digest(bundle.chat_template),
        "generation": json_digest(asdict(bundle.generation)),
        "end_of_text_ids": json_digest(list(bundle.end_of_text_ids)),
        "pooling": json_digest(asdict(bundle.pooling) if bundle.pooling else None),
        "licence": json_digest(bundle.licence),
        **preset,
    }


def _preset_content(preset: Preset) -> dict[str, Any]:
    """Adapters by what lies there, not where it lies."""
    files = [
        file for path in preset.adapters for file in (sorted(path.glob("*")) if path.is_dir() else [path])
    ]
    adapters = [hashlib.sha256(Source(file).data).hexdigest() for file in files if file.is_file()]
    return asdict(preset) | {"adapters": adapters}


def weights_digest(infos: Mapping[str, TensorInfo], tensor_digests: Mapping[str, str]) -> str:
    return json_digest(
        [[name, infos[name].type, list(infos[name].shape), tensor_digests[name]] for name in sorted(infos)]
    )


def tensor_bytes(bundle: Bundle, name: str) -> Bytes:
    """The bytes that a tensor's digest is made of, uint8 [num_bytes]."""
    if isinstance(bundle.tensors, StoredTensors):
        return bundle.tensors.stored(name)
    weight = bundle.tensors.read(name)
    arrays = (
        [weight.values] if isinstance(weight, DenseTensor) else [weight.values, weight.scales, weight.offsets]
    )
    flat = [np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in arrays if array is not None]
    return flat[0] if len(flat) == 1 else np.concatenate(flat)


def tensor_digest(bundle: Bundle, name: str, threads: ThreadPoolExecutor | None = None) -> str:
    """Of one tensor; lets go of a mapped file's pages on the way."""

    def release() -> None:
        for source in bundle.sources:
            source.release()

    return bytes_digest(tensor_bytes(bundle, name), threads, release)


def bytes_digest(
    raw: Bytes, threads: ThreadPoolExecutor | None = None, release: Callable[[], None] = lambda: None
) -> str:
    """SHA-256 over the SHA-256 of each MiB, so that all cores can hash one tensor."""
    digests: list[bytes] = []
    for begin in range(0, len(raw), WINDOW_BYTES) or [0]:
        window = raw[begin : begin + WINDOW_BYTES]
        pieces = (window[start : start + PIECE_BYTES] for start in range(0, len(window), PIECE_BYTES))
        spread = threads.map if threads is not None and len(window) > PIECE_BYTES else map
        digests += spread(_piece_digest, pieces)
        release()
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _piece_digest(piece: Bytes) -> bytes:
    return hashlib.sha256(piece.data).digest()


def canonical(value: object) -> bytes:
    """JSON with sorted keys, no white space and UTF-8: one spelling for one value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def json_digest(value: object) -> str:
    return hashlib.sha256(canonical(value)).hexdigest()


def _tokenizer_content(source: TokenizerSource | None) -> Any:  # noqa: ANN401
    """JSON files by their values, others by their bytes; the template is a part of its own."""
    if source is None:
        return None
    if source.kind == "gguf":
        metadata = source.metadata
        return {key: metadata[key] for key in metadata if not key.endswith(TEMPLATE_KEY)}
    return {name: _file_content(path) for name, path in source.files.items()}


def _file_content(path: Path) -> Any:  # noqa: ANN401
    if path.suffix == ".json":
        value = read_object(path)
        return {key: item for key, item in value.items() if key != TEMPLATE_KEY}
    source = Source(path)
    return hashlib.sha256(source.read(0, source.size)).hexdigest()
