"""Checks a program once, before any backend compiles it, and a step before the reference runs it.

Both backends share the program check, so a recording mistake reads the same everywhere. The rule:
after `check_program`, every operation's shapes fit and no backend looks at them again.
"""

from __future__ import annotations

import numpy as np

from fairway.kernels import program as p
from fairway.kernels.program import Buffer, CacheShape, Limits, Program, Step
from fairway.tensors import F32


def check_program(program: Program, cache: CacheShape, limits: Limits) -> Buffer:
    """Raises ValueError naming the first operation that does not fit; returns the logits buffer."""
    _check_sizes(cache, limits)
    for number, operation in enumerate(program.operations):
        where = f"operation {number} ({type(operation).__name__})"
        for buffer in buffers_of(operation):
            _check_buffer(program, buffer, where)
        _check_operation(operation, cache, where)
    if program.logits is None or program.logits.rows != "outputs":
        raise ValueError("the program has no logits buffer of output rows")
    _check_buffer(program, program.logits, "the logits")
    if program.logits.width != program.logits.stride:
        raise ValueError("the logits must be a whole buffer, not some of its columns")
    return program.logits


def buffers_of(operation: p.Operation) -> list[Buffer]:
    """Every buffer that an operation reads or writes."""
    return [value for value in vars(operation).values() if isinstance(value, Buffer)]


def _check_sizes(cache: CacheShape, limits: Limits) -> None:
    for record in (cache, limits):
        for name, value in vars(record).items():
            if isinstance(value, int) and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")


def _check_buffer(program: Program, buffer: Buffer, where: str) -> None:
    if not 0 <= buffer.index < len(program.widths) or buffer.stride != program.widths[buffer.index]:
        raise ValueError(f"{where} uses a buffer of another program")
    if buffer.width < 1 or buffer.start < 0 or buffer.start + buffer.width > buffer.stride:
        raise ValueError(f"{where} reaches outside its buffer")


def _expect(where: str, **pairs: tuple[object, object]) -> None:
    for name, (found, wanted) in pairs.items():
        if found != wanted:
            raise ValueError(f"{where}: {name} is {found}, expected {wanted}")


def _vector(where: str, name: str, values: F32, size: int) -> None:
    if values.dtype != np.float32 or values.shape != (size,):
        raise ValueError(f"{where}: {name} must be float32 [{size}], not {values.dtype} {list(values.shape)}")


def _same_rows(operation: p.Operation, where: str) -> None:
    if len({buffer.rows for buffer in buffers_of(operation)}) > 1:
        raise ValueError(f"{where} mixes token rows and output rows")


def _check_operation(operation: p.Operation, cache: CacheShape, where: str) -> None:
    if not isinstance(operation, p.SelectOutputs):
        _same_rows(operation, where)
    match operation:
        case p.Embed():
            _expect(where, width=(operation.out.width, operation.table.columns))
            _expect(where, rows=(operation.out.rows, "tokens"))
        case p.AddPosition():
            _expect(where, rows=(operation.x.rows, "tokens"), dtype=(operation.table.dtype, np.float32))
            _expect(where, shape=(operation.table.shape[1:], (operation.x.width,)))
        case p.RMSNorm():
            size = operation.head_size or operation.x.width
            _vector(where, "weight", operation.weight, size)
            _expect(where, width=(operation.out.width, operation.x.width), rest=(operation.x.width % size, 0))
        case p.LayerNorm():
            _vector(where, "weight", operation.weight, operation.x.width)
            _vector(where, "bias", operation.bias, operation.x.width)
            _expect(where, width=(operation.out.width, operation.x.width))
        case p.Linear():
            _check_linear(operation, where)
        case p.Gate():
            _expect(where, width=(operation.x.width, 2 * operation.out.width))
        case p.Activate():
            _expect(where, width=(operation.out.width, operation.x.width))
        case p.Add():
            _expect(where, width=(operation.y.width, operation.x.width))
            _expect(where, width=(operation.out.width, operation.x.width))
        case p.Rope():
            _check_rope(operation, where)
        case p.WriteCache() | p.Attention():
            _check_cached(operation, cache, where)
        case p.SelectOutputs():
            _expect(where, x=(operation.x.rows, "tokens"), out=(operation.out.rows, "outputs"))
            _expect(where, width=(operation.out.width, operation.x.width))
        case p.SoftCap():
            _positive(where, "cap", operation.cap)
        case _:
            raise ValueError(f"{where} is not an operation")


def _positive(where: str, name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{where}: {name} must be positive, not {value}")


def _check_linear(operation: p.Linear, where: str) -> None:
    _expect(where, x=(operation.x.width, operation.matrix.columns))
    _expect(where, out=(operation.out.width, operation.matrix.rows))
    if _overlap(operation.x, operation.out):
        raise ValueError(f"{where} writes the buffer that it reads")
    if operation.bias is not None:
        _vector(where, "bias", operation.bias, operation.matrix.rows)
    if operation.residual is not None:
        _expect(where, residual=(operation.residual.width, operation.out.width))
    for part in operation.lora:
        if (
            operation.x.rows != "tokens"
            or not 0 <= part.start < part.start + part.width <= operation.out.width
        ):
            raise ValueError(f"{where}: an adapter cannot change columns {part.start} on by {part.width}")


def _overlap(a: Buffer, b: Buffer) -> bool:
    return a.index == b.index and a.start < b.start + b.width and b.start < a.start + a.width


def _check_rope(operation: p.Rope, where: str) -> None:
    _expect(where, rows=(operation.x.rows, "tokens"))
    _vector(where, "inv_freq", operation.inv_freq, len(operation.inv_freq))
    if operation.head_size < 1 or operation.x.width % operation.head_size:
        raise ValueError(f"{where}: width {operation.x.width} is not whole heads of {operation.head_size}")
    if not 0 < 2 * len(operation.inv_freq) <= operation.head_size:
        raise ValueError(f"{where}: {len(operation.inv_freq)} frequencies in heads of {operation.head_size}")


def _check_cached(operation: p.WriteCache | p.Attention, cache: CacheShape, where: str) -> None:
    if not 0 <= operation.layer < cache.num_layers:
        raise ValueError(f"{where}: layer {operation.layer} of a cache of {cache.num_layers} layers")
    if isinstance(operation, p.WriteCache):
        width = cache.num_kv_heads * cache.head_size
        _expect(where, k=(operation.k.width, width), v=(operation.v.width, width))
        _expect(where, rows=(operation.k.rows, "tokens"))
        return
    kv_heads, head_size = operation.num_kv_heads, operation.head_size
    _expect(where, num_kv_heads=(kv_heads, cache.num_kv_heads), head_size=(head_size, cache.head_size))
    _expect(where, q=(operation.q.width, operation.num_heads * head_size), rows=(operation.q.rows, "tokens"))
    _expect(where, out=(operation.out.width, operation.q.width))
    if operation.num_heads < 1 or operation.num_heads % kv_heads:
        raise ValueError(f"{where}: {operation.num_heads} heads over {kv_heads} key-value heads")
    if operation.window is not None:
        _positive(where, "window", operation.window)
    if operation.softcap is not None:
        _positive(where, "softcap", operation.softcap)


def check_step(step: Step, cache: CacheShape, limits: Limits) -> None:
    """Raises ValueError for a step that reaches outside the limits, the cache or itself."""
    tokens, sequences, outputs = len(step.token_ids), len(step.starts) - 1, len(step.output_rows)
    sizes = ((tokens, limits.max_tokens), (sequences, limits.max_sequences))
    for (count, most), name in zip(sizes, ("tokens", "sequences"), strict=True):
        if not 1 <= count <= most:
            raise ValueError(f"the step has {count} {name}, allowed are 1 to {most}")
    if outputs > limits.max_outputs:
        raise ValueError(f"the step has {outputs} outputs, allowed are 0 to {limits.max_outputs}")
    if step.block_tables.ndim != 2 or len(step.block_tables) != sequences or len(step.positions) != tokens:
        raise ValueError("positions or block_tables do not have the step's size")
    if step.starts[0] != 0 or step.starts[-1] != tokens or (np.diff(step.starts) < 0).any():
        raise ValueError("starts must rise from 0 to the number of tokens")
    if outputs and not (step.output_rows.min() >= 0 and step.output_rows.max() < tokens):
        raise ValueError("an output row lies outside the step")
    if step.adapters is not None and step.adapters.shape != (sequences,):
        raise ValueError("adapters do not have the step's size")
    for s in range(sequences):
        _check_sequence(step, s, cache)


def _check_sequence(step: Step, s: int, cache: CacheShape) -> None:
    positions = step.positions[step.starts[s] : step.starts[s + 1]]
    if not len(positions):
        return
    if positions[0] < 0 or (np.diff(positions) != 1).any():
        raise ValueError(f"positions of sequence {s} are not consecutive from 0 or more")
    num_blocks = int(positions[-1]) // cache.block_size + 1
    if num_blocks > step.block_tables.shape[1]:
        raise ValueError(f"position {positions[-1]} of sequence {s} lies outside its block table")
    used = step.block_tables[s, :num_blocks]
    if used.min() < 0 or used.max() >= cache.num_blocks:
        raise ValueError(f"sequence {s} names a block outside the cache of {cache.num_blocks}")
