"""Memory that serving a model takes, in bytes, from its header alone.

Pure arithmetic over a config, tensor headers and decisions; nothing is measured or read here. The
rule: it mirrors what the native engine allocates, and tests compare the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from math import prod

from fairway.formats.bundle import Bundle, TensorInfo
from fairway.formats.gguf_types import BY_NAME
from fairway.kernels.program import CacheType, Matrix, cache_bytes
from fairway.map.roofline import PassWork
from fairway.models.config import DecoderConfig
from fairway.models.families import family
from fairway.models.names import stored_names
from fairway.models.recording import Recording
from fairway.models.sizes import ShapeMatrix, Shapes
from fairway.models.weights import table_type
from fairway.tensors import F32

FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
TILE_ROWS = 16
GROUP = 32
SCALE_BITS = 16
LINE_BYTES = 64
CHUNK_COLUMNS = 64
# Types whose blocks carry a minimum beside the scale.
WITH_OFFSETS = frozenset({"Q4_1", "Q5_1", "Q2_K", "Q4_K", "Q5_K"})
# Interpreter, libraries and server, resident before a model is loaded; then the tokenizer's tables.
# Both measured: benchmarks/plan_accuracy.py.
PROGRAM_BYTES = 77_500_000
TOKENIZER_BYTES_PER_TOKEN = 320
GGUF_BYTES_PER_TOKEN = 190
"""A GGUF file's vocabulary stays in memory as it was read, beside the tokenizer."""


@dataclass(frozen=True)
class Need:
    """Where the memory goes."""

    weight_bytes: int
    kv_bytes: int
    activation_bytes: int
    overhead_bytes: int = PROGRAM_BYTES
    adapter_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        model = self.weight_bytes + self.kv_bytes + self.activation_bytes
        return model + self.adapter_bytes + self.overhead_bytes

    def to_dict(self) -> dict[str, int]:
        return asdict(self) | {"total_bytes": self.total_bytes}


@dataclass(frozen=True)
class Packing:
    """How a matrix is held: plain elements, or groups with a scale and perhaps an offset."""

    bits: int
    group: int | None = None
    has_offsets: bool = False

    def num_bytes(self, rows: int, columns: int) -> int:
        """In tiles of 16 rows that begin on a cache line; grouped columns are padded to chunks of 64."""
        tile_bytes = TILE_ROWS * self._column_bits(columns) // 8
        return -(-rows // TILE_ROWS) * (-(-tile_bytes // LINE_BYTES) * LINE_BYTES)

    def _column_bits(self, columns: int) -> int:
        """Bits of one row."""
        if self.group is None:
            return columns * self.bits
        padded = -(-columns // CHUNK_COLUMNS) * CHUNK_COLUMNS
        return padded * self.bits + padded // self.group * SCALE_BITS * (2 if self.has_offsets else 1)


PACKINGS = {
    "f32": Packing(32),
    "f16": Packing(16),
    "bf16": Packing(16),
    "int8": Packing(8, GROUP),
    "int6": Packing(6, GROUP),
    "int5": Packing(5, GROUP),
    "int4": Packing(4, GROUP),
    "int4_asym": Packing(4, GROUP, has_offsets=True),
    "int8_asym": Packing(8, GROUP, has_offsets=True),
    "mxfp4": Packing(5, GROUP),
}


def stored_packing(type_name: str) -> Packing:
    """How the engine holds a tensor of a file's type without losing anything."""
    plain = PACKINGS.get(type_name.lower())
    if plain is not None:
        return plain
    row = BY_NAME.get(type_name)
    if row is None or row.bits == 0:
        return PACKINGS["f32"]
    return Packing(row.bits, row.group, type_name in WITH_OFFSETS)


@dataclass
class PackedShapes(Shapes):
    """A weight source that adds up what packing each matrix would take, and reads nothing."""

    infos: Mapping[str, TensorInfo] = field(default_factory=dict)
    """By the names that families ask for."""
    weight_type: str = "stored"
    num_bytes: int = 0

    def embedding(self, name: str, rows: int, columns: int) -> Matrix:
        stored = self.weight_type == "stored"
        packing = self._packing(name) if stored else PACKINGS[table_type(self.weight_type)]
        super().embedding(name, rows, columns)
        return self._matrix(packing, rows, columns)

    def linear(
        self, names: Sequence[str], sizes: Sequence[int], columns: int, *, input_first: bool = False
    ) -> list[Matrix]:
        """Projections of one type are stacked into one matrix, and padded once."""
        super().linear(names, sizes, columns, input_first=input_first)
        packings = [self._packing(f"{name}.weight") for name in names]
        stacks = groupby(zip(packings, sizes, strict=True), key=lambda pair: pair[0])
        return [self._matrix(packing, sum(rows for _, rows in stack), columns) for packing, stack in stacks]

    def floats(self, name: str, shape: tuple[int, ...], *, offset: float = 0.0) -> F32:
        self.num_bytes += 4 * prod(shape)
        return super().floats(name, shape, offset=offset)

    def _matrix(self, packing: Packing, rows: int, columns: int) -> ShapeMatrix:
        num_bytes = packing.num_bytes(rows, columns)
        self.num_bytes += num_bytes
        return ShapeMatrix(rows, columns, num_bytes, packing.group is not None)

    def _packing(self, name: str) -> Packing:
        if self.weight_type != "stored":
            return PACKINGS[self.weight_type]
        info = self.infos.get(name)
        return stored_packing(info.type if info is not None else "F32")


def weight_bytes(bundle: Bundle, config: DecoderConfig, weight_type: str) -> int:
    """Packed weights in memory, when loaded as `weight_type` ("stored" or one of `PACKINGS`)."""
    return recorded_shapes(bundle, config, weight_type)[0].num_bytes


def pass_work(bundle: Bundle, config: DecoderConfig, weight_type: str) -> PassWork:
    """What a forward pass reads and multiplies, when the weights are loaded as `weight_type`."""
    return PassWork.of(recorded_shapes(bundle, config, weight_type)[1].program)


def recorded_shapes(
    bundle: Bundle, config: DecoderConfig, weight_type: str, *, takes_adapters: bool = False
) -> tuple[PackedShapes, Recording]:
    """The forward pass over sizes alone, and what its weights take."""
    stored = stored_names(bundle.tensors.infos)
    infos = {name: bundle.tensors.infos[original] for name, original in stored.items()}
    shapes = PackedShapes(infos=infos, weight_type=weight_type)
    recording = Recording(config, shapes, config.max_context, takes_adapters)
    family(config.model_type).record(recording)
    return shapes, recording


def overhead_bytes(bundle: Bundle, config: DecoderConfig) -> int:
    """What a process holds beside model, cache and buffers, its tokenizer included."""
    keeps_metadata = bundle.tokenizer is not None and bool(bundle.tokenizer.metadata)
    per_token = TOKENIZER_BYTES_PER_TOKEN + (GGUF_BYTES_PER_TOKEN if keeps_metadata else 0)
    return PROGRAM_BYTES + per_token * config.vocab_size


def kv_bytes(
    config: DecoderConfig, num_tokens: int, kv_type: CacheType, *, trims_windows: bool = False
) -> int:
    """Keys and values of `num_tokens` positions over all layers.

    Our engine's blocks hold every position in every layer; `trims_windows` is for engines whose
    layers with a sliding window keep no more than the window.
    """
    kept = (min(num_tokens, window) if trims_windows and window else num_tokens for window in config.windows)
    return sum(kept) * config.num_kv_heads * cache_bytes(config.head_size, kv_type)


def activation_bytes(config: DecoderConfig, max_tokens: int, max_sequences: int) -> int:
    """The buffers of one step at its largest: the recorded program's own widths, float32."""
    recording = Recording(config, Shapes(), config.max_context)
    family(config.model_type).record(recording)
    widths: dict[str, int] = {"tokens": 0, "outputs": 0}
    for buffer in recording.buffers.values():
        widths[buffer.rows] += buffer.width
    return 4 * (max_tokens * widths["tokens"] + max_sequences * widths["outputs"])


def num_parameters(bundle: Bundle) -> int:
    """Every value in the file."""
    return sum(prod(info.shape) for info in bundle.tensors.infos.values())


def stored_types(infos: Mapping[str, TensorInfo]) -> dict[str, int]:
    """Stored type -> bytes, of tensors with two or more dimensions, the largest first."""
    sums: dict[str, int] = {}
    for info in infos.values():
        if len(info.shape) > 1:
            sums[info.type] = sums.get(info.type, 0) + info.num_bytes
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def is_quantised(infos: Mapping[str, TensorInfo]) -> bool:
    """Whether most of the matrices are low-bit already."""
    types = stored_types(infos)
    plain = sum(size for name, size in types.items() if name in FLOATS)
    return 2 * plain < sum(types.values())
