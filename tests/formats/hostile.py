"""Broken model files by the thousand, the same ones for the same seed.

A `Case` is a handful of files and what opening them must do: "error" (one FairwayError), "same" (the
change is harmless: identical tensors) or "any" (either, but never another exception). The bytes are
laid out here by hand, not by the project's writers, so that every field's place is known.
"""

from __future__ import annotations

from collections.abc import Iterator

from hostile_case import Case
from hostile_gguf import gguf_cases
from hostile_safetensors import safetensors_cases
from hostile_shards import shard_cases
from hostile_sidecars import sidecar_cases


def all_cases(seed: int = 1) -> Iterator[Case]:
    yield from gguf_cases(seed)
    yield from safetensors_cases(seed)
    yield from shard_cases(seed)
    yield from sidecar_cases()
