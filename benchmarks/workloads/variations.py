"""The ways one model can be run, and its logits for every token of a window in each of them.

Each way is loaded as `fairway serve` would load it; a window is one step whose every token is an output.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from benchmarks.comparison.turns import say
from benchmarks.peers.llama_cpp import gguf
from benchmarks.peers.protocol import Model, Place, Unavailable
from fairway.formats.open import open_bundle
from fairway.kernels.program import Limits
from fairway.kernels.select import select_backend
from fairway.map.settings import PlanSettings
from fairway.models.conversion import WEIGHT_TYPES
from fairway.models.loader import load_model
from fairway.proof.forward import one_sequence
from fairway.settings import types_of
from fairway.tensors import F32, I32

BLOCK_SIZE = 16
GGUF_TYPES = ("Q8_0", "Q4_0")
K_TYPES = ("Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K", "IQ4_XS")
K_COLUMNS = 256
"""A K-quant's block; llama-quantize takes another type for matrices of other widths."""


def kv_types() -> list[str]:
    """All that `--kv` takes, the most exact first."""
    return [name for name in get_args(types_of(PlanSettings)["kv"]) if name != "auto"]


@dataclass(frozen=True)
class Variation:
    """Weights and cache of one row; `file` is a GGUF whose own types are kept."""

    weights: str
    kv: str
    isa: str = "auto"
    file: Path | None = None

    @property
    def name(self) -> str:
        return f"{self.weights} weights, {self.kv} cache"


REFERENCE = Variation("stored", "f32", isa="reference")


class Loaded:
    """One variation of a model, ready to be asked."""

    def __init__(self, folder: Path, variation: Variation, length: int, threads: int) -> None:
        bundle = open_bundle(variation.file or folder, complete=False)
        kept = "stored" if variation.file else variation.weights
        model = load_model(bundle, select_backend(variation.isa, threads), weight_type=kept, context=length)
        self.weight_bytes = model.weight_bytes
        self._num_blocks = -(-length // BLOCK_SIZE)
        kv: Any = variation.kv
        cache = model.cache_shape(self._num_blocks, BLOCK_SIZE, type=kv)
        self._executable = model.compile(cache, Limits(length, 1, length))

    def logits(self, ids: I32) -> F32:
        """float32 [T, vocabulary], valid until the next call."""
        return self._executable.run(one_sequence(ids, 0, self._num_blocks))


def variations(model: Model, place: Place) -> Iterator[Variation]:
    """Every weight type with an exact cache, every cache with exact weights, then what is served."""
    exact, *rounded = kv_types()
    for weights in WEIGHT_TYPES:
        yield Variation(weights, exact)
    for kv in rounded:
        yield Variation("stored", kv)
    for weights in ("int8", "int4"):
        for kv in rounded:
            yield Variation(weights, kv)
    for kind in gguf_types(model):
        try:
            yield Variation(kind, "f16", file=gguf(model, kind, place))
        except Unavailable as error:
            say(f"{kind}: {error}")


def gguf_types(model: Model) -> tuple[str, ...]:
    """Those that llama-quantize can really make of this model."""
    from fairway.models.families import read_config

    config = read_config(open_bundle(model.folder).config)
    whole = all(width % K_COLUMNS == 0 for width in (config.hidden_size, config.intermediate_size))
    return GGUF_TYPES + (K_TYPES if whole else ())
