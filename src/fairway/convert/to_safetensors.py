"""A folder with safetensors from any bundle whose tensors have Hugging Face's names.

One file up to the size of a shard, else shards and the index that joins them. Types stay as they are, or
all floats become one type; tensors that are no floats (old buffers) are copied.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from fairway.convert.job import OutputFile, TensorJob, job_of
from fairway.convert.settings import STORED, ConvertSettings
from fairway.convert.sidecars import as_json
from fairway.errors import SettingsError
from fairway.formats.bundle import Bundle
from fairway.formats.floats import FLOATS
from fairway.formats.safetensors_writer import safetensors_layout
from fairway.proof.hop import is_quantised

METADATA = {"format": "pt"}
"""transformers reads only files that say so."""
INDEX = "model.safetensors.index.json"
DIGITS = re.compile(r"(\d+)")


def check_type(name: str) -> None:
    if name != STORED and name not in FLOATS:
        raise SettingsError(
            f"Safetensors of a Hugging Face folder hold floats, not {name}.",
            hint=f"Choose --type {', '.join(FLOATS).lower()}, or --to gguf for low-bit types.",
            param="type",
        )


def float_jobs(bundle: Bundle, wanted: str) -> list[TensorJob]:
    """Every tensor, in natural order of names; `wanted` is "stored" or a float type."""
    names = sorted(bundle.tensors.infos, key=natural)
    return [job_of(bundle, name, _type(bundle, name, wanted)) for name in names]


def _type(bundle: Bundle, name: str, wanted: str) -> str:
    stored = bundle.tensors.infos[name].type
    return wanted if wanted != STORED and (stored in FLOATS or is_quantised(stored)) else stored


def natural(name: str) -> list[tuple[int, str]]:
    """layers.2 before layers.10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in DIGITS.split(name)]


def safetensors_files(
    jobs: Sequence[TensorJob], settings: ConvertSettings, metadata: Mapping[str, str] = METADATA
) -> tuple[tuple[OutputFile, ...], dict[str, bytes]]:
    """The files, and the index where there are several."""
    shards = _shards(jobs, settings.max_shard_bytes)
    if len(shards) == 1:
        return (_file("model.safetensors", shards[0], metadata),), {}
    names = [f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
    files = tuple(_file(name, shard, metadata) for name, shard in zip(names, shards, strict=True))
    place = {name: file.name for file in files for job in file.jobs for name in job.parts}
    total = sum(job.num_bytes for job in jobs)
    return files, {INDEX: as_json({"metadata": {"total_size": total}, "weight_map": place})}


def _shards(jobs: Sequence[TensorJob], max_bytes: int) -> list[list[TensorJob]]:
    """A tensor larger than a shard gets one of its own."""
    shards: list[list[TensorJob]] = [[]]
    taken = 0
    for job in jobs:
        if shards[-1] and taken + job.num_bytes > max_bytes:
            shards.append([])
            taken = 0
        shards[-1].append(job)
        taken += job.num_bytes
    return shards


def _file(name: str, jobs: Sequence[TensorJob], metadata: Mapping[str, str]) -> OutputFile:
    layout = safetensors_layout({part: each for job in jobs for part, each in job.parts.items()}, metadata)
    by_name = {job.name: job for job in jobs}
    return OutputFile(name, layout, tuple(by_name[each] for each in layout.offsets if each in by_name))


def common_type(jobs: Sequence[TensorJob]) -> str | None:
    """The type of most bytes, which config.json states."""
    sizes: dict[str, int] = {}
    for job in jobs:
        sizes[job.type] = sizes.get(job.type, 0) + job.num_bytes
    return max(sizes, key=lambda name: sizes[name], default=None)
