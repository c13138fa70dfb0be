"""A model's forward pass as a list of operations: recorded once, replayed every step.

Models record operations against buffers; backends (`reference`, `native`) compile and run them.
This module knows neither models nor how an operation is computed. The rule that must hold: every
operation treats each token on its own (attention reads earlier tokens only through the cache), so
a token's result never depends on what else is in the batch.

All activations are float32 [rows, width]. `rows` is "tokens" (every token of the step) or
"outputs" (only the tokens whose logits are wanted, after `SelectOutputs`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from fairway.kernels.sampling import Draw, Score
from fairway.tensors import F32, I32, DenseTensor, WeightTensor

Activation: TypeAlias = Literal["silu", "gelu", "gelu_tanh", "relu"]
CacheType: TypeAlias = Literal["f32", "f16", "int8"]


class Matrix(Protocol):
    """A weight [rows, columns] in a backend's own layout; `y = x @ W.T` maps columns to rows."""

    @property
    def rows(self) -> int: ...
    @property
    def columns(self) -> int: ...
    @property
    def num_bytes(self) -> int: ...
    @property
    def is_integer(self) -> bool:
        """Low-bit weights, multiplied with int8 activations; else both are floats."""
        ...


@dataclass(frozen=True)
class Buffer:
    """Columns `start : start + width` of storage `index`, which is `stride` floats wide."""

    index: int
    width: int
    stride: int
    start: int = 0
    rows: Literal["tokens", "outputs"] = "tokens"

    def columns(self, start: int, width: int) -> Buffer:
        """A view of some columns, for example q, k and v inside a fused projection."""
        if start < 0 or start + width > self.width:
            raise ValueError(f"columns {start}:{start + width} lie outside a buffer {self.width} wide")
        return Buffer(self.index, width, self.stride, self.start + start, self.rows)


@dataclass(frozen=True)
class Embed:
    """out[t] = table[token_ids[t]] * scale"""

    table: Matrix
    out: Buffer
    scale: float = 1.0


@dataclass(frozen=True)
class AddPosition:
    """x[t] += table[positions[t]]; learned positions (GPT-2). table [max_positions, width]."""

    table: F32
    x: Buffer


@dataclass(frozen=True)
class RMSNorm:
    """out = x / sqrt(mean(x**2) + eps) * weight, over the whole width or over each head of `head_size`."""

    x: Buffer
    weight: F32
    out: Buffer
    eps: float
    head_size: int | None = None


@dataclass(frozen=True)
class LayerNorm:
    """out = (x - mean) / sqrt(var + eps) * weight + bias"""

    x: Buffer
    weight: F32
    bias: F32
    out: Buffer
    eps: float


@dataclass(frozen=True)
class LoraPart:
    """Columns `start : start + width` of a product: one linear layer, by a name that adapters know it by."""

    name: str
    start: int
    width: int


@dataclass(frozen=True)
class Linear:
    """out = residual + scale * (x @ matrix.T + bias); residual may be the buffer `out` itself.

    int8 and int4 matrices quantise x to int8 with one scale per 32 columns (the power of two at
    or above absmax / 127, round half to even), so integer dot products are exact.

    Then, for each part of `lora` that the adapter of a token's sequence changes by a `Delta`:
    out[part] += scale * delta.scale * ((x @ a.T) @ b.T). Where the matrix is of integers, a is int8 in groups
    of 32, multiplied with the same int8 x, and b is rounded to bfloat16; else all are floats as they are.
    """

    x: Buffer
    matrix: Matrix
    out: Buffer
    bias: F32 | None = None
    residual: Buffer | None = None
    scale: float = 1.0
    lora: tuple[LoraPart, ...] = ()


@dataclass(frozen=True)
class Gate:
    """out = activation(x[:, :width]) * x[:, width:], where width = out.width"""

    x: Buffer
    out: Buffer
    activation: Activation


@dataclass(frozen=True)
class Activate:
    """out = activation(x)"""

    x: Buffer
    out: Buffer
    activation: Activation


@dataclass(frozen=True)
class Add:
    """out = x + scale * y"""

    x: Buffer
    y: Buffer
    out: Buffer
    scale: float = 1.0


@dataclass(frozen=True)
class Rope:
    """Rotates each head of x in place, half-split pairs (i, i + rotary/2), by positions[t] * inv_freq[i].

    `rotary = 2 * len(inv_freq)` leading values of each head rotate, the rest pass through;
    cos and sin are multiplied by `factor` (YaRN, longrope). Angles are computed in float32.
    """

    x: Buffer
    head_size: int
    inv_freq: F32
    factor: float = 1.0


@dataclass(frozen=True)
class WriteCache:
    """Stores k and v of every token of the step in the cache of `layer`, at the slot of its position."""

    k: Buffer
    v: Buffer
    layer: int


@dataclass(frozen=True)
class Attention:
    """Causal attention of q over the cache of `layer`, grouped heads (num_heads % num_kv_heads == 0).

    score = q . k * scale, then softcap * tanh(score / softcap) if set; a token at position p sees
    positions p - window + 1 .. p if `window` is set, else 0 .. p.
    """

    q: Buffer
    out: Buffer
    layer: int
    num_heads: int
    num_kv_heads: int
    head_size: int
    scale: float
    window: int | None = None
    softcap: float | None = None


@dataclass(frozen=True)
class SelectOutputs:
    """out[i] = x[output_rows[i]]: keeps only the tokens whose logits are wanted."""

    x: Buffer
    out: Buffer


@dataclass(frozen=True)
class SoftCap:
    """x = cap * tanh(x / cap), in place"""

    x: Buffer
    cap: float


Operation: TypeAlias = (
    Embed
    | AddPosition
    | RMSNorm
    | LayerNorm
    | Linear
    | Gate
    | Activate
    | Add
    | Rope
    | WriteCache
    | Attention
    | SelectOutputs
    | SoftCap
)


@dataclass
class Program:
    """The recorded forward pass. `logits` is the "outputs" buffer that a run returns."""

    operations: list[Operation] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)
    logits: Buffer | None = None

    def buffer(self, width: int, rows: Literal["tokens", "outputs"] = "tokens") -> Buffer:
        """A new buffer. Reuse buffers between layers: each lives as long as the program."""
        self.widths.append(width)
        return Buffer(len(self.widths) - 1, width, width, rows=rows)

    def record(self, operation: Operation) -> None:
        self.operations.append(operation)


def cache_bytes(head_size: int, type: CacheType) -> int:
    """Bytes of one token's key and value in one head.

    int8 has a float32 scale per 32 values of a key and one per value vector.
    """
    if type == "int8":
        return 2 * head_size + 4 * (-(-head_size // 32) + 1)
    return 2 * head_size * (4 if type == "f32" else 2)


@dataclass(frozen=True)
class CacheShape:
    """The paged key-value cache. Token at position p of a sequence lives in block
    `block_table[p // block_size]`, slot `p % block_size`.

    float16 clamps to its range. int8 rounds each key per 32 values and each value vector as a whole,
    as `Linear` rounds activations; queries are rounded like keys when they meet them.
    """

    num_layers: int
    num_blocks: int
    block_size: int
    num_kv_heads: int
    head_size: int
    type: CacheType = "f16"

    @property
    def num_bytes(self) -> int:
        tokens = self.num_blocks * self.block_size
        return self.num_layers * tokens * self.num_kv_heads * cache_bytes(self.head_size, self.type)


@dataclass(frozen=True)
class Limits:
    """The largest step a compiled program accepts."""

    max_tokens: int
    max_sequences: int
    max_outputs: int


@dataclass(frozen=True)
class Step:
    """One step's input. T tokens of S sequences, sequence s owning tokens starts[s] : starts[s + 1].

    token_ids [T], positions [T] (consecutive within a sequence), starts [S + 1],
    block_tables [S, max_blocks] (unused entries are ignored), output_rows [R] token indices,
    adapters [S] the slot of each sequence's adapter or -1; None: nobody has one.
    """

    token_ids: I32
    positions: I32
    starts: I32
    block_tables: I32
    output_rows: I32
    adapters: I32 | None = None


@dataclass(frozen=True)
class Delta:
    """What an adapter adds to one `LoraPart`: a [rank, columns of x], b [width of the part, rank]."""

    a: DenseTensor
    b: DenseTensor
    scale: float


class PackedAdapter(Protocol):
    """An adapter in a backend's own layout."""

    @property
    def num_bytes(self) -> int: ...


@dataclass(frozen=True)
class CachedTokens:
    """Keys and values that stand in the cache without a token that computes them.

    float32 [num_layers, tokens, num_kv_heads * head_size] each.
    """

    keys: F32
    values: F32

    def __len__(self) -> int:
        return int(self.keys.shape[1])

    @property
    def num_bytes(self) -> int:
        return int(self.keys.nbytes + self.values.nbytes)


class Executable(Protocol):
    """A program bound to its cache. Owned by one thread; not re-entrant."""

    def run(self, step: Step) -> F32:
        """Logits float32 [R, vocabulary]: a view that is valid until the next run.

        A step that breaks its contract raises ValueError and leaves the cache as it was.
        """
        ...

    def greedy(self, step: Step) -> I32:
        """Runs and returns the id of each output row's largest logit [R], the lowest id of equals."""
        ...

    def choose(self, rows: Sequence[int], draws: Sequence[Draw], vocabulary: int) -> list[int | None]:
        """A token for each draw, from the first `vocabulary` logits of its row of the last run.

        None where those are no finite numbers; see `kernels.sampling.choose`.
        """
        ...

    def score(self, rows: Sequence[int], numbers: Sequence[int], vocabulary: int) -> list[Score]:
        """What log probabilities over the first `vocabulary` logits of each row of the last run are made of.

        With the `numbers[i]` most likely tokens of row i, as many as there are; see `kernels.sampling.score`.
        """
        ...

    def pack_adapter(self, deltas: Mapping[str, Delta]) -> PackedAdapter:
        """Deltas by the names of their parts. Safe from any thread. ValueError where one fits none."""
        ...

    def put_adapter(self, slot: int, adapter: PackedAdapter | None) -> None:
        """What `Step.adapters` means by `slot` from now on; None: nothing."""
        ...

    def put_cached(self, places: I32, keys: F32, values: F32) -> None:
        """Stores keys and values that no token computes, as `WriteCache` stores those of a step's tokens.

        keys and values [num_layers, n, num_kv_heads * head_size]; places [n] are block * block_size + slot.
        Raises ValueError for other shapes and for places outside the cache.
        """
        ...


class Backend(Protocol):
    """Turns weights into its own layout and programs into something that runs."""

    name: str

    def matrix(self, weight: WeightTensor) -> Matrix:
        """Packs a weight. The source may be dropped afterwards."""
        ...

    def compile(self, program: Program, cache: CacheShape, limits: Limits) -> Executable: ...
