"""From a bundle to a model that can be compiled: read the config, check every name, load, record.

The order is the promise: a config that cannot run, then a tensor that does not fit, is refused
before the first weight is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fairway.errors import SettingsError
from fairway.formats.bundle import Bundle
from fairway.formats.quantized_folder import with_weights
from fairway.kernels.native_backend import NativeBackend
from fairway.kernels.program import Backend, CacheShape, CacheType, Executable, Limits, Program
from fairway.models.config import DecoderConfig
from fairway.models.conversion import check_weight_type
from fairway.models.families import family, read_config
from fairway.models.names import check_tensors
from fairway.models.packed_weights import PackedWeights, PackingWeights, Requests, Wanted
from fairway.models.recording import Recording
from fairway.models.sizes import Expected, expected_tensors
from fairway.models.weights import Progress, Weights, WeightSource

if TYPE_CHECKING:
    from fairway.models.packed_cache import PackedCache


@dataclass
class Model:
    """A recorded forward pass with its packed weights. Shared by every executable compiled from it."""

    config: DecoderConfig
    program: Program
    backend: Backend
    max_context: int
    """Positions served: the config's, or fewer if the caller asked for fewer."""
    num_parameters: int
    weight_bytes: int
    weight_type: str

    @property
    def vocab_size(self) -> int:
        return self.config.vocab_size

    def cache_shape(self, num_blocks: int, block_size: int = 16, *, type: CacheType = "f16") -> CacheShape:
        """The paged cache this model needs, with room for `num_blocks * block_size` tokens."""
        config = self.config
        return CacheShape(
            config.num_layers, num_blocks, block_size, config.num_kv_heads, config.head_size, type
        )

    def compile(self, cache: CacheShape, limits: Limits) -> Executable:
        return self.backend.compile(self.program, cache, limits)


def load_model(
    bundle: Bundle,
    backend: Backend,
    *,
    weight_type: str = "stored",
    context: int | None = None,
    progress: Progress | None = None,
    cache: PackedCache | None = None,
    takes_adapters: bool = False,
) -> Model:
    """Packs the weights of a bundle for a backend, or maps them packed from a cache.

    Raises `UnsupportedError` for what this engine cannot run, `FormatError` for tensors that do not
    fit the config, `SettingsError` for an unknown weight type or a context beyond the model's.
    """
    check_weight_type(weight_type)
    bundle = with_weights(bundle)
    config = read_config(bundle.config, bundle.config_name)
    served = served_context(config, context)
    expected = expected_tensors(config)
    check_tensors(
        bundle, {name: tensor.shape for name, tensor in expected.items()}, tied=config.tied_embeddings
    )

    def record(weights: WeightSource) -> Program:
        recording = Recording(config, weights, served, takes_adapters)
        family(config.model_type).record(recording)
        return recording.program

    def unpacked() -> Weights:
        return Weights(bundle, backend, weight_type, total=len(expected), progress=progress)

    kept = None
    if cache is not None and isinstance(backend, NativeBackend):
        requests = Requests()
        record(requests)
        wanted = Wanted(bundle.name, bundle.sources, weight_type, requests.names)
        kept = cache.open(wanted, lambda writer: record(PackingWeights(unpacked(), writer)))
    weights = unpacked() if kept is None else PackedWeights(kept)
    program = record(weights)
    for source in bundle.sources:
        source.release()
    return Model(
        config=config,
        program=program,
        backend=backend,
        max_context=served,
        num_parameters=_count(expected),
        weight_bytes=weights.num_bytes,
        weight_type=weight_type,
    )


def served_context(config: DecoderConfig, wanted: int | None) -> int:
    """The context to serve; None is all of the model's."""
    if wanted is None:
        return config.max_context
    if not 1 <= wanted <= config.max_context:
        raise SettingsError(
            f"A context of {wanted} is not possible: this model has {config.max_context} positions.",
            hint=f"Choose 1 to {config.max_context}.",
            param="context",
        )
    return wanted


def _count(expected: dict[str, Expected]) -> int:
    return sum(tensor.num_elements for tensor in expected.values())
