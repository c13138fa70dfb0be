"""What can be set about how models run. Light to import: flags are made from it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fairway.settings import setting


@dataclass(frozen=True)
class PlanSettings:
    """How models run. None and "auto" leave the decision to the plan."""

    weights: Literal["auto", "stored", "bf16", "int8", "int6", "int5", "int4"] = setting(
        "auto", "type of the weights in memory; stored keeps what the file holds"
    )
    context: int | None = setting(None, "longest prompt and answer together, in tokens", minimum=16)
    kv: Literal["auto", "f32", "f16", "int8"] = setting(
        "auto", "type of the key-value cache; int8 takes about half the memory of f16"
    )
    kv_share: float = setting(
        0.5, "share of the memory left by the weights that the cache may take", minimum=0.01, maximum=1.0
    )
    threads: int | None = setting(None, "threads that compute; unset: one per core", minimum=1, maximum=1024)
    max_tokens_per_step: int = setting(512, "tokens computed in one step", minimum=16, maximum=65536)
    max_sequences: int = setting(64, "requests computed in one step", minimum=1, maximum=4096)
    max_waiting: int = setting(1024, "requests that may wait before new ones are refused", minimum=1)
    enable_prefix_caching: bool = setting(
        True, "requests share the cache of equal beginnings, also with finished requests"
    )
    max_loras: int = setting(
        16, "LoRA adapters that may be loaded at a time; 0: none", minimum=0, maximum=4096
    )
    max_lora_rank: int = setting(64, "largest rank of an adapter", minimum=1, maximum=4096)
    adapters: int = setting(
        0, "LoRA adapters to keep memory for; those of --lora count anyway", minimum=0, maximum=4096
    )
    adapter_rank: int = setting(16, "rank of the adapters that memory is kept for", minimum=1, maximum=4096)
    isa: Literal["auto", "avx512", "avx2_vnni", "avx2", "neon_i8mm", "neon", "reference"] = setting(
        "auto", "instruction set of the kernels"
    )
    packed_cache: bool = setting(True, "keep packed weights on disk for the next start")
    cache_folder: str | None = setting(None, "where packed weights are kept; unset: ~/.cache/fairway")
    cache_gb: float = setting(
        40.0, "disk that packed weights may take; the least recently used go first", minimum=0
    )

    @property
    def packed_folder(self) -> Path:
        """Where packed weights are kept, if they are."""
        return self._cache / "packed"

    @property
    def engines_folder(self) -> Path:
        """Where TensorRT's engines are kept."""
        return self._cache / "engines"

    @property
    def _cache(self) -> Path:
        if self.cache_folder is not None:
            return Path(self.cache_folder).expanduser()
        home = os.environ.get("XDG_CACHE_HOME")
        return (Path(home) if home else Path("~/.cache").expanduser()) / "fairway"

    @property
    def packed_bytes(self) -> int:
        """The most that they may take."""
        return int(self.cache_gb * 1e9)


@dataclass(frozen=True)
class CatalogueSettings:
    """Files of the map's catalogue beyond the package's own and those of the configuration folder."""

    files: tuple[str, ...] = setting(
        (), "TOML files of your own that add to the map's catalogue or correct it"
    )
