"""Small decoder programs and steps for the kernel tests: random weights, any backend."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fairway.kernels import program as p
from fairway.kernels.program import Backend, CacheShape, Executable, Limits, Program, Step
from fairway.kernels.quantize import quantize_int8, quantize_low
from fairway.tensors import F32, I32, DenseTensor, WeightTensor

WEIGHTS = ("f32", "f16", "bf16", "int8", "int6", "int5", "int4")


def weight_tensor(values: F32, kind: str) -> WeightTensor:
    """A float32 matrix as a weight of that kind."""
    match kind:
        case "f32":
            return DenseTensor("f32", values)
        case "f16":
            return DenseTensor("f16", values.astype(np.float16))
        case "bf16":
            return DenseTensor("bf16", (values.view(np.uint32) >> 16).astype(np.uint16))
        case "int8":
            return quantize_int8(values)
        case "int4" | "int5" | "int6":
            return quantize_low(values, int(kind[3:]))
    raise ValueError(kind)


@dataclass(frozen=True)
class Shape:
    """A tiny llama: everything that a program builder needs."""

    layers: int = 2
    width: int = 48
    heads: int = 6
    kv_heads: int = 2
    head_size: int = 8
    ffn: int = 172
    vocabulary: int = 101
    weights: str = "int4"
    window: int | None = None
    softcap: float | None = None
    seed: int = 0


@dataclass
class Decoder:
    """A recorded tiny llama and what it needs to compile."""

    shape: Shape
    program: Program = field(default_factory=Program)

    def cache(self, num_blocks: int = 64, block_size: int = 16, element: str = "f32") -> CacheShape:
        s = self.shape
        return CacheShape(s.layers, num_blocks, block_size, s.kv_heads, s.head_size, element)  # type: ignore[arg-type]


def decoder(backend: Backend, shape: Shape) -> Decoder:
    """Records rms norm, fused qkv, rope, attention, gated ffn, twice; tied logits."""
    random = np.random.default_rng(shape.seed)

    def matrix(rows: int, columns: int) -> p.Matrix:
        values = random.standard_normal((rows, columns), np.float32) / np.float32(columns**0.5)
        return backend.matrix(weight_tensor(values, shape.weights))

    def vector(size: int) -> F32:
        return random.standard_normal(size, np.float32) * np.float32(0.1) + np.float32(1)

    made = Decoder(shape)
    program, q_width, kv_width = made.program, shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    x, normed = program.buffer(shape.width), program.buffer(shape.width)
    qkv, attended = program.buffer(q_width + 2 * kv_width), program.buffer(q_width)
    both, hidden = program.buffer(2 * shape.ffn), program.buffer(shape.ffn)
    last, logits = program.buffer(shape.width, "outputs"), program.buffer(shape.vocabulary, "outputs")
    q, k, v = (
        qkv.columns(0, q_width),
        qkv.columns(q_width, kv_width),
        qkv.columns(q_width + kv_width, kv_width),
    )
    inv_freq = (10000.0 ** -(np.arange(0, shape.head_size, 2) / shape.head_size)).astype(np.float32)
    table = matrix(shape.vocabulary, shape.width)
    program.record(p.Embed(table, x, 2.0))
    for layer in range(shape.layers):
        program.record(p.RMSNorm(x, vector(shape.width), normed, 1e-5))
        program.record(p.Linear(normed, matrix(qkv.width, shape.width), qkv, bias=vector(qkv.width)))
        program.record(p.Rope(q, shape.head_size, inv_freq))
        program.record(p.Rope(k, shape.head_size, inv_freq))
        program.record(p.WriteCache(k, v, layer))
        program.record(
            p.Attention(
                q, attended, layer, shape.heads, shape.kv_heads, shape.head_size,
                shape.head_size**-0.5, shape.window, shape.softcap,
            )
        )  # fmt: skip
        program.record(p.Linear(attended, matrix(shape.width, q_width), x, residual=x))
        program.record(p.RMSNorm(x, vector(shape.width), normed, 1e-5))
        program.record(p.Linear(normed, matrix(both.width, shape.width), both))
        program.record(p.Gate(both, hidden, "silu"))
        program.record(p.Linear(hidden, matrix(shape.width, shape.ffn), x, residual=x))
    program.record(p.SelectOutputs(x, last))
    program.record(p.RMSNorm(last, vector(shape.width), last, 1e-5))
    program.record(p.Linear(last, table, logits))
    program.logits = logits
    return made


@dataclass
class Sequence:
    """One sequence in a test: its tokens, its blocks and how many are already cached."""

    tokens: list[int]
    blocks: list[int]
    cached: int = 0


def step_of(sequences: list[tuple[Sequence, int]], max_blocks: int) -> Step:
    """A step that runs the next `count` tokens of each sequence; every token is an output."""
    ids: list[int] = []
    positions: list[int] = []
    starts = [0]
    tables = np.full((len(sequences), max_blocks), -1, np.int32)
    for row, (sequence, count) in enumerate(sequences):
        ids += sequence.tokens[sequence.cached : sequence.cached + count]
        positions += range(sequence.cached, sequence.cached + count)
        starts.append(len(ids))
        tables[row, : len(sequence.blocks)] = sequence.blocks
    return Step(_i32(ids), _i32(positions), _i32(starts), tables, np.arange(len(ids), dtype=np.int32))


def run_steps(executable: Executable, sequence: Sequence, counts: list[int], max_blocks: int) -> F32:
    """Logits of every token of one sequence, run alone in steps of the given sizes."""
    parts = []
    for count in counts:
        parts.append(executable.run(step_of([(sequence, count)], max_blocks)).copy())
        sequence.cached += count
    return np.concatenate(parts)


def limits(tokens: int = 128, sequences: int = 64, outputs: int = 128) -> Limits:
    return Limits(tokens, sequences, outputs)


def _i32(values: list[int]) -> I32:
    return np.array(values, np.int32)
