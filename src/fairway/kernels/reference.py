"""The reference backend: runs a program step by step in NumPy. Slow, short and right.

Runs on any machine and is what the native kernels are measured against. Holds its cache as plain
arrays [layer, block, slot, kv_head, ...].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fairway.errors import InternalError
from fairway.kernels import program as p
from fairway.kernels import reference_ops as ops
from fairway.kernels.check import buffers_of, check_program, check_step
from fairway.kernels.lora import changed_products, check_deltas, held_a, held_b
from fairway.kernels.program import Buffer, CacheShape, Delta, Limits, PackedAdapter, Program, Step
from fairway.kernels.sampling import Draw, Score, choose, score
from fairway.tensors import F32, I32, Array, DenseTensor, GroupedTensor, WeightTensor


@dataclass(frozen=True)
class ReferenceMatrix:
    """A weight as it came, and for dense ones its float32 values."""

    tensor: WeightTensor
    dense: F32 | None

    @property
    def rows(self) -> int:
        return int(self.tensor.shape[0])

    @property
    def columns(self) -> int:
        return int(self.tensor.shape[1])

    @property
    def is_integer(self) -> bool:
        return not isinstance(self.tensor, DenseTensor)

    @property
    def num_bytes(self) -> int:
        if isinstance(self.tensor, DenseTensor):
            return int(self.tensor.values.nbytes)
        offsets = self.tensor.offsets
        scales = int(self.tensor.scales.nbytes) + (0 if offsets is None else int(offsets.nbytes))
        return int(self.tensor.values.nbytes) + scales

    def times(self, x: F32) -> F32:
        """x @ W.T"""
        if isinstance(self.tensor, GroupedTensor):
            return ops.linear_grouped(x, self.tensor)
        return ops.linear_dense(x, self._dense())

    def take(self, rows: I32) -> F32:
        """Some rows as float32, for the embedding."""
        tensor = self.tensor
        if isinstance(tensor, DenseTensor):
            return self._dense()[rows]
        offsets = None if tensor.offsets is None else tensor.offsets[rows]
        part = GroupedTensor(
            tensor.bits, tensor.group, tensor.values[rows], tensor.scales[rows], tensor.zero, offsets
        )
        return ops.dequantize(part)

    def _dense(self) -> F32:
        if self.dense is None:
            raise InternalError("a grouped matrix has no dense values")
        return self.dense


@dataclass(frozen=True)
class ReferenceAdapter:
    """A, B and scale by the names of their parts."""

    deltas: Mapping[str, tuple[ReferenceMatrix, ReferenceMatrix, float]]

    @property
    def num_bytes(self) -> int:
        return sum(a.num_bytes + b.num_bytes for a, b, _ in self.deltas.values())


class ReferenceBackend:
    """Turns programs into `ReferenceExecutable`s."""

    name = "reference"

    def matrix(self, weight: WeightTensor) -> ReferenceMatrix:
        if len(weight.shape) != 2:
            raise ValueError(f"a matrix has two dimensions, not {len(weight.shape)}")
        dense = ops.to_float32(weight) if isinstance(weight, DenseTensor) else None
        return ReferenceMatrix(weight, dense)

    def compile(self, program: Program, cache: CacheShape, limits: Limits) -> ReferenceExecutable:
        return ReferenceExecutable(program, cache, limits)


class ReferenceExecutable:
    """A program with its buffers and its cache."""

    def __init__(self, program: Program, cache: CacheShape, limits: Limits) -> None:
        self.logits = check_program(program, cache, limits)
        self.operations = list(program.operations)
        self.widths = list(program.widths)
        self.cache = cache
        self.limits = limits
        self.stored = _stored(cache)
        self.adapters: dict[int, ReferenceAdapter] = {}
        self.buffers: list[F32] = []
        self.step: Step | None = None

    def run(self, step: Step) -> F32:
        """Logits float32 [R, vocabulary]."""
        check_step(step, self.cache, self.limits)
        if step.adapters is not None and not set(step.adapters.tolist()) <= {-1, *self.adapters}:
            raise ValueError("a sequence names an adapter that is not loaded")
        self.step = step
        rows = {"tokens": len(step.token_ids), "outputs": len(step.output_rows)}
        kinds = {b.index: b.rows for o in self.operations for b in buffers_of(o)}
        self.buffers = [
            np.zeros((rows[kinds.get(i, "tokens")], width), np.float32) for i, width in enumerate(self.widths)
        ]
        for operation in self.operations:
            self._run(operation, step)
        return self._get(self.logits)

    def greedy(self, step: Step) -> I32:
        """The id of the largest logit per output row, the lowest id where several are equal."""
        ids: I32 = np.argmax(self.run(step), axis=1).astype(np.int32)
        return ids

    def choose(self, rows: Sequence[int], draws: Sequence[Draw], vocabulary: int) -> list[int | None]:
        """A token for each draw, from its row of the last run's logits."""
        return choose(self._get(self.logits)[:, :vocabulary], rows, draws)

    def score(self, rows: Sequence[int], numbers: Sequence[int], vocabulary: int) -> list[Score]:
        """What log probabilities are made of, from rows of the last run's logits."""
        return score(self._get(self.logits)[:, :vocabulary], rows, numbers)

    def pack_adapter(self, deltas: Mapping[str, Delta]) -> ReferenceAdapter:
        """Deltas by the names of their parts."""
        check_deltas(self.operations, deltas)
        matrix = ReferenceBackend().matrix
        packed = {
            part.name: (
                matrix(held_a(each.linear, delta.a)),
                matrix(held_b(each.linear, delta.b)),
                delta.scale,
            )
            for each in changed_products(self.operations, deltas)
            for part, delta in each.deltas
        }
        return ReferenceAdapter(packed)

    def put_adapter(self, slot: int, adapter: PackedAdapter | None) -> None:
        """What `Step.adapters` means by `slot` from now on."""
        self.adapters.pop(slot, None)
        if isinstance(adapter, ReferenceAdapter):
            self.adapters[slot] = adapter

    def put_cached(self, places: I32, keys: F32, values: F32) -> None:
        """Stores keys and values [layers, n, kv_heads * head_size] that no token computes."""
        cache = self.cache
        shape = (cache.num_layers, len(places), cache.num_kv_heads * cache.head_size)
        if keys.shape != shape or values.shape != shape:
            raise ValueError("keys or values do not have the cache's size")
        if len(places) and not 0 <= places.min() <= places.max() < cache.num_blocks * cache.block_size:
            raise ValueError("a place lies outside the cache")
        for layer, (key_rows, value_rows) in enumerate(zip(keys, values, strict=True)):
            slots = [(layer, *divmod(place, cache.block_size)) for place in places.tolist()]
            self._store(slots, self._split(key_rows), self._split(value_rows))

    def _split(self, rows: F32) -> F32:
        return rows.reshape(len(rows), -1, self.cache.head_size)

    def _get(self, buffer: Buffer) -> F32:
        return self.buffers[buffer.index][:, buffer.start : buffer.start + buffer.width]

    def _set(self, buffer: Buffer, values: F32) -> None:
        self._get(buffer)[:] = values

    def _heads(self, buffer: Buffer, head_size: int) -> F32:
        x = self._get(buffer)
        return x.reshape(len(x), x.shape[1] // head_size, head_size)

    def _run(self, o: p.Operation, step: Step) -> None:
        match o:
            case p.Embed(table, out, scale):
                self._embed(table, out, scale, step)
            case p.AddPosition(table, x):
                if int(step.positions.max()) >= len(table):
                    raise ValueError(f"a position lies outside the table of {len(table)} positions")
                self._set(x, self._get(x) + table[step.positions])
            case p.RMSNorm(x, weight, out, eps, head_size):
                heads = self._heads(x, head_size or x.width)
                self._set(out, ops.rms_norm(heads, weight, eps).reshape(len(heads), x.width))
            case p.LayerNorm(x, weight, bias, out, eps):
                self._set(out, ops.layer_norm(self._get(x), weight, bias, eps))
            case p.Linear():
                self._linear(o)
                self._lora(o, step)
            case p.Gate(x, out, activation):
                both = self._get(x)
                gate, up = both[:, : out.width], both[:, out.width :]
                self._set(out, ops.activate(gate, activation) * up)
            case p.Activate(x, out, activation):
                self._set(out, ops.activate(self._get(x), activation))
            case p.Add(x, y, out, scale):
                self._set(out, self._get(x) + np.float32(scale) * self._get(y))
            case p.Rope(x, head_size, inv_freq, factor):
                turned = ops.rope(self._heads(x, head_size), step.positions, inv_freq, factor)
                self._set(x, turned.reshape(len(turned), x.width))
            case p.WriteCache(k, v, layer):
                self._write(k, v, layer, step)
            case p.Attention():
                self._attention(o, step)
            case p.SelectOutputs(x, out):
                self._set(out, self._get(x)[step.output_rows])
            case p.SoftCap(x, cap):
                self._set(x, ops.soft_cap(self._get(x), cap))

    def _embed(self, table: p.Matrix, out: Buffer, scale: float, step: Step) -> None:
        if step.token_ids.min() < 0 or step.token_ids.max() >= table.rows:
            raise ValueError(f"a token id lies outside the vocabulary of {table.rows}")
        self._set(out, _own(table).take(step.token_ids) * np.float32(scale))

    def _linear(self, o: p.Linear) -> None:
        y = _own(o.matrix).times(self._get(o.x))
        if o.bias is not None:
            y = y + o.bias
        y = np.float32(o.scale) * y
        self._set(o.out, y if o.residual is None else self._get(o.residual) + y)

    def _lora(self, o: p.Linear, step: Step) -> None:
        x, out = self._get(o.x), self._get(o.out)
        for s, slot in enumerate([] if step.adapters is None or not o.lora else step.adapters.tolist()):
            rows = slice(step.starts[s], step.starts[s + 1])
            for part in o.lora if slot >= 0 else ():
                if delta := self.adapters[slot].deltas.get(part.name):
                    a, b, scale = delta
                    added = np.float32(o.scale * scale) * b.times(a.times(x[rows]))
                    out[rows, part.start : part.start + part.width] += added

    def _write(self, k: Buffer, v: Buffer, layer: int, step: Step) -> None:
        slots = []
        for s, t in _owners(step):
            block, slot = divmod(int(step.positions[t]), self.cache.block_size)
            slots.append((layer, int(step.block_tables[s, block]), slot))
        self._store(slots, self._heads(k, self.cache.head_size), self._heads(v, self.cache.head_size))

    def _store(self, slots: Sequence[tuple[int, int, int]], keys: F32, values: F32) -> None:
        """keys and values [slots, kv_heads, head_size]"""
        largest = ops.F32_MAX if self.cache.type == "f32" else ops.F16_MAX
        keys, values = ops.finite(keys, largest), ops.finite(values, largest)
        for at, place in enumerate(slots):
            for array, part in zip(self.stored, self._parts(keys[at], values[at]), strict=True):
                array[place] = part

    def _parts(self, key: F32, value: F32) -> tuple[Array, ...]:
        """What is stored of one token's key and value [kv_heads, head_size]."""
        if self.cache.type != "int8":
            return key, value
        keys, key_scales = ops.quantize_cached(key, ops.GROUP)
        values, value_scales = ops.quantize_cached(value, self.cache.head_size)
        return keys, key_scales, values[:, 0], value_scales[:, 0]

    def _attention(self, o: p.Attention, step: Step) -> None:
        q, out = self._heads(o.q, o.head_size), self._get(o.out)
        for s, t in _owners(step):
            last = int(step.positions[t])
            first = 0 if o.window is None else max(0, last - o.window + 1)
            seen = np.arange(first, last + 1)
            blocks = step.block_tables[s, seen // self.cache.block_size]
            slots = seen % self.cache.block_size
            parts = [array[o.layer, blocks, slots] for array in self.stored]
            out[t] = self._attend(o, q[t], parts).reshape(-1)

    def _attend(self, o: p.Attention, q: F32, parts: list[Array]) -> F32:
        if self.cache.type == "int8":
            return ops.attend_int8(q, ops.Int8Cache.of(parts), o.scale, o.softcap)
        keys, values = (part.astype(np.float32) for part in parts)
        return ops.attend(q, keys, values, o.scale, o.softcap)


def _stored(cache: CacheShape) -> list[Array]:
    """Zeros [layer, block, slot, kv_head, ...]: keys and values, or their int8 codes and scales."""
    tokens = (cache.num_layers, cache.num_blocks, cache.block_size, cache.num_kv_heads)
    if cache.type != "int8":
        element = np.float32 if cache.type == "f32" else np.float16
        return [np.zeros((*tokens, cache.head_size), element) for _ in range(2)]
    groups = -(-cache.head_size // ops.GROUP)
    return [
        np.zeros((*tokens, groups, ops.GROUP), np.int8),
        np.zeros((*tokens, groups), np.float32),
        np.zeros((*tokens, cache.head_size), np.int8),
        np.zeros(tokens, np.float32),
    ]


def _own(matrix: p.Matrix) -> ReferenceMatrix:
    if not isinstance(matrix, ReferenceMatrix):
        raise TypeError(f"this matrix belongs to another backend: {type(matrix).__name__}")
    return matrix


def _owners(step: Step) -> list[tuple[int, int]]:
    """(sequence, token) pairs of the step."""
    starts = step.starts.tolist()
    return [(s, t) for s in range(len(starts) - 1) for t in range(starts[s], starts[s + 1])]
