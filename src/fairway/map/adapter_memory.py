"""Memory that LoRA adapters take beside a model, in bytes, before one is opened.

Mirrors `kernels.native_lora`, and tests compare the two. An adapter is counted as one that changes every
linear layer and is stored in float32, the most that it can be.
"""

from __future__ import annotations

from fairway.formats.bundle import Bundle
from fairway.kernels.lora import adaptable
from fairway.kernels.program import Linear
from fairway.map.estimate import PACKINGS, TILE_ROWS, recorded_shapes
from fairway.models.config import DecoderConfig
from fairway.models.families import family
from fairway.models.recording import Recording
from fairway.models.sizes import Shapes


def adapter_bytes(bundle: Bundle, config: DecoderConfig, weight_type: str, rank: int) -> int:
    """One adapter of this rank as the native kernels hold it beside these weights."""
    _, recording = recorded_shapes(bundle, config, weight_type, takes_adapters=True)
    return sum(_product_bytes(linear, rank) for linear in adaptable(recording.program.operations))


def adapter_parameters(config: DecoderConfig, rank: int) -> int:
    """Of one adapter of this rank on every linear layer."""
    recording = Recording(config, Shapes(), config.max_context, takes_adapters=True)
    family(config.model_type).record(recording)
    linears = adaptable(recording.program.operations)
    return sum(rank * (each.x.width + part.width) for each in linears for part in each.lora)


def _product_bytes(linear: Linear, rank: int) -> int:
    """The A of all parts as one matrix, and a B for each, which begins with a tile."""
    is_integer = linear.matrix.is_integer
    a = PACKINGS["int8" if is_integer else "f32"].num_bytes(len(linear.lora) * rank, linear.x.width)
    columns = -(-rank // 2) if is_integer else rank
    rows = (part.start % TILE_ROWS + part.width for part in linear.lora)
    return a + sum(PACKINGS["f32"].num_bytes(each, columns) for each in rows)
