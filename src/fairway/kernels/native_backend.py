"""The native backend: packs weights into tiles, hands programs to the C++ extension, replays them there.

Knows the extension's calls and nothing of what they compute. The rule: shapes are checked in Python
once, by `check_program`; every step is checked in C++ each time.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fairway.errors import UnsupportedError
from fairway.kernels import program as p
from fairway.kernels.check import buffers_of, check_program
from fairway.kernels.cores import allowed_cores
from fairway.kernels.extension import MISSING, native_isas
from fairway.kernels.extension import native as _native
from fairway.kernels.native_lora import NativeAdapter, Pack, pack_adapter
from fairway.kernels.packing import Kind, Packer, kind_of
from fairway.kernels.program import Buffer, CacheShape, Delta, Limits, PackedAdapter, Program, Step
from fairway.kernels.sampling import Draw, Score
from fairway.tensors import F32, I32, WeightTensor

_ACTIVATIONS = {"silu": 0, "gelu": 1, "gelu_tanh": 2, "relu": 3}
_CACHES = {"f32": 0, "f16": 1, "int8": 2}


class NativeBackend:
    """One instruction set and one team of threads, shared by everything compiled here."""

    def __init__(self, isa: str | None = None, threads: int | None = None) -> None:
        known = native_isas()
        if isa not in known and (isa is not None or not known):
            reason = f"the extension is not available ({MISSING})" if MISSING else "this machine lacks it"
            raise UnsupportedError(f"No native kernels for {isa or 'this machine'}: {reason}.")
        self.isa = isa or known[0]
        self.name = f"native-{self.isa}"
        self._team = _native.Team(threads or allowed_cores())

    @property
    def threads(self) -> int:
        return self._team.size

    def matrix(self, weight: WeightTensor) -> _native.Matrix:
        """Packs a weight into tiles of 16 rows; the source may be dropped afterwards."""
        if len(weight.shape) != 2 or 0 in weight.shape:
            raise ValueError(f"a matrix has rows and columns, not shape {list(weight.shape)}")
        packer = self.packer((weight.shape[0], weight.shape[1]), kind_of(weight))
        packer.add(weight)
        return packer.finish()

    def packer(self, shape: tuple[int, int], kind: Kind) -> Packer:
        """For a matrix [rows, columns] that arrives in slices."""
        return Packer(self._team, self.isa, shape, kind)

    def compile(self, program: Program, cache: CacheShape, limits: Limits) -> NativeExecutable:
        logits = check_program(program, cache, limits)
        native = _native.Executable(
            self._team,
            self.isa,
            [cache.num_layers, cache.num_blocks, cache.block_size, cache.num_kv_heads, cache.head_size],
            _CACHES[cache.type],
            list(dataclasses.astuple(limits)),
            program.widths,
            _output_buffers(program),
        )
        for operation in joined(program.operations):
            if isinstance(operation, GatedLinear):
                _record_gated(native, operation)
            else:
                _record(native, operation)
        native.finish(_columns(logits))
        return NativeExecutable(native, list(program.operations), self.matrix)


class NativeExecutable:
    """A program bound to its cache; runs without the interpreter lock."""

    def __init__(self, native: _native.Executable, operations: list[p.Operation], pack: Pack) -> None:
        self._native = native
        self._operations = operations
        self._pack = pack

    @property
    def num_bytes(self) -> int:
        """Bytes of buffers and cache, weights not counted."""
        return self._native.num_bytes

    def run(self, step: Step) -> F32:
        """Logits float32 [R, vocabulary]: a view that is valid until the next run."""
        return self._native.run(*_arrays(step))

    def greedy(self, step: Step) -> I32:
        """The id of the largest logit per output row, the lowest id where several are equal."""
        return np.array(self._native.greedy(*_arrays(step)), np.int32)

    def choose(self, rows: Sequence[int], draws: Sequence[Draw], vocabulary: int) -> list[int | None]:
        """A token for each draw, from its row of the last run's logits, over the threads."""
        table = np.array(draws, np.float64).reshape(len(draws), len(Draw._fields))
        ids = self._native.choose(np.array(rows, np.int32), table, vocabulary)
        return [None if token_id < 0 else token_id for token_id in ids]

    def score(self, rows: Sequence[int], numbers: Sequence[int], vocabulary: int) -> list[Score]:
        """What log probabilities are made of, from rows of the last run's logits, over the threads."""
        counts = np.array(numbers, np.int32)
        return [Score(*each) for each in self._native.score(np.array(rows, np.int32), counts, vocabulary)]

    def pack_adapter(self, deltas: Mapping[str, Delta]) -> NativeAdapter:
        """Deltas by the names of their parts; the source may be dropped afterwards."""
        return pack_adapter(self._operations, deltas, self._pack)

    def put_adapter(self, slot: int, adapter: PackedAdapter | None) -> None:
        """What `Step.adapters` means by `slot` from now on; None: nothing."""
        if adapter is not None and not isinstance(adapter, NativeAdapter):
            raise TypeError(f"this adapter belongs to another backend: {type(adapter).__name__}")
        self._native.put_adapter(slot, None if adapter is None else adapter.layers)

    def put_cached(self, places: I32, keys: F32, values: F32) -> None:
        """Stores keys and values [layers, n, kv_heads * head_size] that no token computes."""
        arrays = (np.ascontiguousarray(each, np.float32) for each in (keys, values))
        self._native.put_cached(np.ascontiguousarray(places, np.int32), *arrays)

    def profile(self, on: bool = True) -> dict[str, float]:
        """Seconds per kind of stage since the last call; switches counting on or off."""
        return self._native.profile(on)


def _arrays(step: Step) -> tuple[I32, I32, I32, I32, I32, I32 | None]:
    return (
        np.ascontiguousarray(step.token_ids, np.int32),
        np.ascontiguousarray(step.positions, np.int32),
        np.ascontiguousarray(step.starts, np.int32),
        np.ascontiguousarray(step.block_tables, np.int32),
        np.ascontiguousarray(step.output_rows, np.int32),
        None if step.adapters is None else np.ascontiguousarray(step.adapters, np.int32),
    )


@dataclass(frozen=True)
class GatedLinear:
    """A `Linear` and the `Gate` of its output, which nobody else reads."""

    linear: p.Linear
    gate: p.Gate


def joined(operations: Sequence[p.Operation]) -> list[p.Operation | GatedLinear]:
    """The operations, with each product and the gate behind it as one where nothing else sees the product."""
    uses = Counter(buffer.index for operation in operations for buffer in buffers_of(operation))
    pairs = [pair for first, second in pairwise(operations) if (pair := _pair(first, second))]
    in_pairs = Counter(pair.linear.out.index for pair in pairs)
    gated = {
        id(pair.linear): pair
        for pair in pairs
        if uses[pair.linear.out.index] == 2 * in_pairs[pair.linear.out.index]
    }
    skipped = {id(pair.gate) for pair in gated.values()}
    return [gated.get(id(o), o) for o in operations if id(o) not in skipped]


def _pair(linear: p.Operation, gate: p.Operation) -> GatedLinear | None:
    """Both as one, if the gate's halves are whole groups of a product that is otherwise plain."""
    if not isinstance(linear, p.Linear) or not isinstance(gate, p.Gate) or linear.out != gate.x:
        return None
    plain = linear.residual is None and linear.scale == 1 and gate.out.index != linear.x.index
    return GatedLinear(linear, gate) if plain and gate.out.width % 32 == 0 else None


def _record_gated(native: _native.Executable, pair: GatedLinear) -> None:
    linear, gate = pair.linear, pair.gate
    activation, adapts = _ACTIVATIONS[gate.activation], bool(linear.lora)
    native.gated_linear(
        _columns(linear.x), _own(linear.matrix), linear.bias, _columns(gate.out), activation, adapts
    )


def _output_buffers(program: Program) -> list[bool]:
    kinds = {b.index: b.rows for operation in program.operations for b in buffers_of(operation)}
    return [kinds.get(index) == "outputs" for index in range(len(program.widths))]


def _columns(buffer: Buffer) -> list[int]:
    return [buffer.index, buffer.start, buffer.width]


def _own(matrix: p.Matrix) -> _native.Matrix:
    if not isinstance(matrix, _native.Matrix):
        raise TypeError(f"this matrix belongs to another backend: {type(matrix).__name__}")
    return matrix


def _record(native: _native.Executable, operation: p.Operation) -> None:
    match operation:
        case p.Embed(table, out, scale):
            native.embed(_own(table), _columns(out), scale)
        case p.AddPosition(positions, x):
            native.add_position(np.ascontiguousarray(positions), _columns(x))
        case p.RMSNorm(x, weight, out, eps):
            native.rms_norm(_columns(x), weight, _columns(out), eps)
        case p.LayerNorm(x, weight, bias, out, eps):
            native.layer_norm(_columns(x), weight, bias, _columns(out), eps)
        case p.Linear(x, matrix, out, added, residual, scale, lora):
            onto = None if residual is None else _columns(residual)
            native.linear(_columns(x), _own(matrix), _columns(out), added, onto, scale, bool(lora))
        case p.Gate(x, out, activation):
            native.gate(_columns(x), _columns(out), _ACTIVATIONS[activation])
        case p.Activate(x, out, activation):
            native.activate(_columns(x), _columns(out), _ACTIVATIONS[activation])
        case p.Add(x, y, out, scale):
            native.add(_columns(x), _columns(y), _columns(out), scale)
        case p.Rope(x, head_size, inv_freq, factor):
            native.rope(_columns(x), head_size, inv_freq, factor)
        case p.WriteCache(k, v, layer):
            native.write_cache(_columns(k), _columns(v), layer)
        case p.Attention(q, out, layer, heads, _, _, scale, window, softcap):
            native.attention(_columns(q), _columns(out), layer, heads, scale, window or 0, softcap or 0.0)
        case p.SelectOutputs(x, out):
            native.select_outputs(_columns(x), _columns(out))
        case p.SoftCap(x, cap):
            native.soft_cap(_columns(x), cap)
