"""A recorded program as named steps in stages: embedding, layer 0, layer 1, ..., head.

Names come from the weights an operation uses, else from what it does and where. The rule: one step
per tensor, whether or not a file's types let several tensors be one matrix; so two recordings of one
architecture have the same steps, whatever their weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fairway.kernels import program as p
from fairway.kernels.program import Buffer
from fairway.proof.recorded import Recorded

EMBEDDING, HEAD = "embedding", "head"
_LAYER = re.compile(r"\.(?:layers|h)\.(\d+)\.")


@dataclass(frozen=True)
class Step:
    """One operation, or one tensor's part of it."""

    stage: str
    name: str
    kind: str
    """"Linear", "RMSNorm", "Attention", ..."""
    index: int
    """Of the operation in the program."""
    reads: Buffer | None
    """Its input; None for the embedding."""
    out: Buffer
    """Where its result stands after the operation."""
    residual: Buffer | None
    """What it is added to."""
    parameters: dict[str, Any]
    """Every number of the operation that is no weight; arrays for the frequencies of a rope."""


def steps_of(recorded: Recorded) -> list[Step]:
    """In the order in which they run."""
    found: list[Step] = []
    stage = EMBEDDING
    for index, operation in enumerate(recorded.program.operations):
        names = _names(operation, recorded)
        stage = _stage(operation, names, stage)
        for name, out, residual in _parts(operation, names, stage, found):
            kind = type(operation).__name__
            reads = getattr(operation, "q" if kind == "Attention" else "x", None)
            found.append(Step(stage, name, kind, index, reads, out, residual, _parameters(operation)))
    return found


def stages_of(recorded: Recorded) -> dict[str, range]:
    """Stage -> its operations, in order. The head begins where the wanted tokens are selected."""
    found: dict[str, range] = {}
    stage = EMBEDDING
    for index, operation in enumerate(recorded.program.operations):
        stage = _stage(operation, _names(operation, recorded), stage)
        start = found[stage].start if stage in found else index
        found[stage] = range(start, index + 1)
    return found


def _stage(operation: p.Operation, names: tuple[tuple[str, int], ...], current: str) -> str:
    if isinstance(operation, p.SelectOutputs) or current == HEAD:
        return HEAD
    numbers = (match.group(1) for name, _ in names if (match := _LAYER.search(f".{name}.")))
    if isinstance(operation, p.WriteCache | p.Attention):
        return f"layer {operation.layer}"
    return next((f"layer {number}" for number in numbers), current)


def _names(operation: p.Operation, recorded: Recorded) -> tuple[tuple[str, int], ...]:
    """The tensors of an operation with their rows."""
    match operation:
        case p.Linear(matrix=matrix) | p.Embed(table=matrix):
            return recorded.names.matrices.get(id(matrix), ())
        case p.RMSNorm(weight=array) | p.LayerNorm(weight=array) | p.AddPosition(table=array):
            name = recorded.names.arrays.get(id(array))
            return ((name, len(array)),) if name else ()
    return ()


def _parts(
    operation: p.Operation, names: tuple[tuple[str, int], ...], stage: str, before: list[Step]
) -> Iterator[tuple[str, Buffer, Buffer | None]]:
    """Name, result and residual of each step of an operation; none for those that only move data."""
    if isinstance(operation, p.WriteCache | p.SelectOutputs):
        return
    if isinstance(operation, p.Linear) and len(names) > 1:
        start = 0
        for name, rows in names:
            residual = None if operation.residual is None else operation.residual.columns(start, rows)
            yield name, operation.out.columns(start, rows), residual
            start += rows
        return
    residual = operation.residual if isinstance(operation, p.Linear) else None
    out = operation.x if isinstance(operation, p.AddPosition | p.Rope | p.SoftCap) else operation.out
    name = names[0][0] if names else f"{stage} {type(operation).__name__.lower()}"
    if isinstance(operation, p.Linear) and stage == HEAD:
        name = "lm_head"
    yield _unique(name, before), out, residual


def _unique(name: str, before: list[Step]) -> str:
    """A second addition or activation of one layer gets a number."""
    taken = sum(step.name == name or step.name.startswith(f"{name} ") for step in before[-40:])
    return f"{name} {taken + 1}" if taken else name


def _parameters(operation: p.Operation) -> dict[str, Any]:
    match operation:
        case p.Embed(scale=scale) | p.Add(scale=scale):
            return {"scale": scale}
        case p.RMSNorm(eps=eps, head_size=head_size):
            return {"eps": eps, "head_size": head_size}
        case p.LayerNorm(eps=eps):
            return {"eps": eps}
        case p.Linear(bias=bias, scale=scale):
            return {"bias": bias is not None, "scale": scale}
        case p.Gate(activation=activation) | p.Activate(activation=activation):
            return {"activation": activation}
        case p.Rope(head_size=head_size, inv_freq=inv_freq, factor=factor):
            return {"head_size": head_size, "frequencies": inv_freq, "factor": factor}
        case p.Attention():
            names = ("num_heads", "num_kv_heads", "head_size", "scale", "window", "softcap")
            return {name: getattr(operation, name) for name in names}
        case p.SoftCap(cap=cap):
            return {"cap": cap}
    return {}
