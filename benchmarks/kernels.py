"""Speed of the native kernels on a random-weight decoder of Qwen2.5-0.5B's shape.

Prints prefill of 512 tokens and decoding at several batch sizes with about 512 tokens of context,
as medians and spread of several rounds, the share of each kind of stage, and how near the matrix
work comes to what the machine can do. No model file is needed.

    python benchmarks/kernels.py --weights int4 --batch 1,8,32
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import asdict, dataclass

import numpy as np

from fairway.kernels import program as p
from fairway.kernels.extension import ISAS
from fairway.kernels.native_backend import NativeBackend, NativeExecutable
from fairway.kernels.program import CacheShape, Limits, Program, Step
from fairway.models.weights import table_type
from fairway.tensors import F32, DenseTensor, GroupedTensor, WeightTensor


@dataclass(frozen=True)
class Shape:
    """Qwen2.5-0.5B."""

    layers: int = 24
    width: int = 896
    heads: int = 14
    kv_heads: int = 2
    head_size: int = 64
    ffn: int = 4864
    vocabulary: int = 151936


@dataclass(frozen=True)
class Result:
    """One line of the table: tokens per second and where the time went."""

    phase: str
    tokens_per_s: float
    low: float
    high: float
    gbytes_per_s: float
    tops: float
    shares: dict[str, float]


def random_weight(random: np.random.Generator, rows: int, columns: int, kind: str) -> WeightTensor:
    """A weight of about unit gain; the values of quantised kinds are drawn directly."""
    if kind in ("f32", "f16", "bf16"):
        values = random.standard_normal((rows, columns), np.float32) / np.float32(columns**0.5)
        if kind == "bf16":
            return DenseTensor("bf16", (values.view(np.uint32) >> 16).astype(np.uint16))
        return DenseTensor(kind, values.astype(np.float16) if kind == "f16" else values)
    bits = int(kind[3:])
    codes = np.frombuffer(random.bytes(rows * columns), np.uint8).reshape(rows, columns)
    scale = np.float32(columns**-0.5 * 3.5 / (1 << bits))
    scales = scale * (0.9 + 0.2 * random.random((rows, -(-columns // 32)), np.float32))
    if bits == 8:
        return GroupedTensor(8, 32, codes.view(np.int8), scales)
    return GroupedTensor(bits, 32, codes & ((1 << bits) - 1), scales, zero=1 << bits - 1)


class Decoder:
    """A recorded program of a shape, with its matrices."""

    def __init__(self, backend: NativeBackend, shape: Shape, weights: str) -> None:
        self.backend, self.shape, self.weights = backend, shape, weights
        self.random = np.random.default_rng(0)
        self.program = Program()
        self.matrices: list[p.Matrix] = []
        self._record()

    @property
    def weight_bytes(self) -> int:
        return sum(matrix.num_bytes for matrix in self.matrices)

    def operations(self, outputs_per_token: float) -> float:
        """Multiply-adds times two of the matrix work of one token."""
        *layers, head = self.matrices[1:] + self.matrices[:1]
        size = sum(m.rows * m.columns for m in layers) + outputs_per_token * head.rows * head.columns
        return 2 * size

    def _matrix(self, rows: int, columns: int, weights: str | None = None) -> p.Matrix:
        weight = random_weight(self.random, rows, columns, weights or self.weights)
        matrix = self.backend.matrix(weight)
        self.matrices.append(matrix)
        return matrix

    def _vector(self, size: int) -> F32:
        return np.ones(size, np.float32)

    def _record(self) -> None:
        s, program = self.shape, self.program
        q_width, kv_width = s.heads * s.head_size, s.kv_heads * s.head_size
        x, normed = program.buffer(s.width), program.buffer(s.width)
        qkv, attended = program.buffer(q_width + 2 * kv_width), program.buffer(q_width)
        both, hidden = program.buffer(2 * s.ffn), program.buffer(s.ffn)
        last, logits = program.buffer(s.width, "outputs"), program.buffer(s.vocabulary, "outputs")
        q, k = qkv.columns(0, q_width), qkv.columns(q_width, kv_width)
        v = qkv.columns(q_width + kv_width, kv_width)
        inv_freq = (1e6 ** -(np.arange(0, s.head_size, 2) / s.head_size)).astype(np.float32)
        table = self._matrix(s.vocabulary, s.width, table_type(self.weights))
        add = program.record
        add(p.Embed(table, x))
        for layer in range(s.layers):
            add(p.RMSNorm(x, self._vector(s.width), normed, 1e-6))
            add(p.Linear(normed, self._matrix(qkv.width, s.width), qkv, bias=self._vector(qkv.width)))
            add(p.Rope(q, s.head_size, inv_freq))
            add(p.Rope(k, s.head_size, inv_freq))
            add(p.WriteCache(k, v, layer))
            add(p.Attention(q, attended, layer, s.heads, s.kv_heads, s.head_size, s.head_size**-0.5))
            add(p.Linear(attended, self._matrix(s.width, q_width), x, residual=x))
            add(p.RMSNorm(x, self._vector(s.width), normed, 1e-6))
            add(p.Linear(normed, self._matrix(both.width, s.width), both))
            add(p.Gate(both, hidden, "silu"))
            add(p.Linear(hidden, self._matrix(s.width, s.ffn), x, residual=x))
        add(p.SelectOutputs(x, last))
        add(p.RMSNorm(last, self._vector(s.width), last, 1e-6))
        add(p.Linear(last, table, logits))
        program.logits = logits


def make_step(tokens_each: int, sequences: int, context: int, blocks_each: int) -> Step:
    """`tokens_each` new tokens for each sequence after `context` cached ones; the last is an output."""
    count = tokens_each * sequences
    ids = (np.arange(count) * 7919 % 50000).astype(np.int32)
    positions = np.tile(np.arange(context, context + tokens_each, dtype=np.int32), sequences)
    starts = np.arange(0, count + 1, tokens_each, dtype=np.int32)
    tables = np.arange(sequences * blocks_each, dtype=np.int32).reshape(sequences, blocks_each)
    return Step(ids, positions, starts, tables, starts[1:] - 1)


def measure(executable: NativeExecutable, decoder: Decoder, args: argparse.Namespace, batch: int) -> Result:
    """Prefill where batch is 0, else decoding at that batch size."""
    prefill = batch == 0
    blocks_each = -(-(args.context + 1) // 16)
    step = (
        make_step(args.prompt, 1, 0, -(-args.prompt // 16))
        if prefill
        else make_step(1, batch, args.context, blocks_each)
    )
    tokens = args.prompt if prefill else batch
    repeats = 1 if prefill else max(1, min(16, 64 // batch))
    executable.run(step)
    executable.profile()
    rates = []
    for _ in range(args.rounds):
        start = time.perf_counter()
        for _ in range(repeats):
            executable.run(step)
        rates.append(tokens * repeats / (time.perf_counter() - start))
    spent = executable.profile()
    rate, total = statistics.median(rates), sum(spent.values())
    return Result(
        f"prefill {args.prompt}" if prefill else f"decode, batch {batch}",
        rate,
        min(rates),
        max(rates),
        decoder.weight_bytes * rate / tokens / 1e9,
        decoder.operations(1 / args.prompt if prefill else 1) * rate / 1e12,
        {kind: seconds / total for kind, seconds in sorted(spent.items(), key=lambda item: -item[1])},
    )


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    types = ["f32", "f16", "bf16", "int8", "int6", "int5", "int4"]
    parser.add_argument("--weights", default="int4", choices=types)
    parser.add_argument("--batch", default="1,8,32", help="batch sizes to decode, comma-separated")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--isa", choices=ISAS)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    batches = [int(batch) for batch in args.batch.split(",")]
    backend = NativeBackend(args.isa, args.threads)
    decoder = Decoder(backend, Shape(layers=args.layers), args.weights)
    shape, largest = decoder.shape, max(batches)
    blocks = max(largest * -(-(args.context + 1) // 16), -(-args.prompt // 16))
    cache = CacheShape(shape.layers, blocks, 16, shape.kv_heads, shape.head_size)
    limits = Limits(max(args.prompt, largest), largest, largest)
    executable = backend.compile(decoder.program, cache, limits)
    results = [measure(executable, decoder, args, batch) for batch in (0, *batches)]
    if args.json:
        print(json.dumps([asdict(result) for result in results]))
        return
    size = f"{decoder.weight_bytes / 1e6:.0f} MB of weights"
    print(f"{backend.name}, {backend.threads} threads, {args.weights}, {size}")
    for r in results:
        shares = ", ".join(f"{kind} {share:.0%}" for kind, share in r.shares.items() if share >= 0.005)
        print(f"{r.phase:17} {r.tokens_per_s:8.1f} tokens/s ({r.low:.1f}-{r.high:.1f}), "
              f"{r.gbytes_per_s:.1f} GB/s of weights, {r.tops:.2f} TOPS; {shares}")  # fmt: skip


if __name__ == "__main__":
    main()
