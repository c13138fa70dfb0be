"""Looks inside a recorded forward pass: runs a part of it and returns what stood in its buffers.

A tap copies a buffer after an operation into one wide output, so the kernels that serve also show
their intermediate results. The rule: a part may be fed any hidden state in place of its own input, so
a layer's error can be told from those before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fairway.kernels import program as p
from fairway.kernels.program import Buffer, Program
from fairway.proof.forward import run_once
from fairway.proof.recorded import Recorded
from fairway.proof.steps import HEAD, Step, stages_of, steps_of
from fairway.tensors import F32, I32, DenseTensor

BEFORE = " before"


@dataclass(frozen=True)
class Tap:
    """Copies `buffer` as it stands after operation `index`, or before it."""

    name: str
    index: int
    buffer: Buffer
    before: bool = False


def trace(
    recorded: Recorded, operations: range, taps: Sequence[Tap], ids: I32, hidden: F32 | None = None
) -> dict[str, F32]:
    """Tap's name -> float32 [T, width]. With `hidden` [T, width], that is what the operations begin from."""
    program = Program(widths=list(recorded.program.widths))
    if hidden is not None:
        assert recorded.backend is not None
        table = recorded.backend.matrix(DenseTensor("f32", np.ascontiguousarray(hidden)))
        program.record(p.Embed(table, stream(recorded)))
        ids = np.arange(len(ids), dtype=np.int32)
    out = program.buffer(sum(tap.buffer.width for tap in taps), "outputs")
    places, start = {}, 0
    for tap in taps:
        places[tap.name] = slice(start, start + tap.buffer.width)
        start += tap.buffer.width
    for index in operations:
        copies = list(_copies(taps, index, places, out))
        program.operations += [copy for before, copy in copies if before]
        program.record(recorded.program.operations[index])
        program.operations += [copy for before, copy in copies if not before]
    program.logits = out
    found = run_once(recorded.compile(program, len(ids), len(ids)), ids)
    return {name: found[:, place] for name, place in places.items()}


def stream(recorded: Recorded) -> Buffer:
    """The buffer of hidden states that the layers add to."""
    return next(o.x for o in recorded.program.operations if isinstance(o, p.SelectOutputs))


def states(recorded: Recorded, ids: I32) -> dict[str, F32]:
    """Stage -> hidden states after it, [T, width]; for the head the logits."""
    logits = recorded.program.logits
    assert logits is not None
    stages = stages_of(recorded)
    taps = [
        Tap(stage, operations[-1], logits if stage == HEAD else stream(recorded))
        for stage, operations in stages.items()
    ]
    return trace(recorded, range(len(recorded.program.operations)), taps, ids)


def trace_stage(recorded: Recorded, stage: str, ids: I32, hidden: F32 | None) -> dict[str, F32]:
    """What every step of a stage makes of a given hidden state, and under its own name the stage."""
    logits = recorded.program.logits
    assert logits is not None
    operations = stages_of(recorded)[stage]
    end = Tap(stage, operations[-1], logits if stage == HEAD else stream(recorded))
    steps = [step for step in steps_of(recorded) if step.stage == stage]
    return trace(recorded, operations, [end, *_step_taps(steps)], ids, hidden)


def final_states(recorded: Recorded, ids: I32) -> F32:
    """The normed hidden states that the head reads, [T, width]."""
    operations = recorded.program.operations
    index, head = next(
        (index, o) for index, o in reversed(list(enumerate(operations))) if isinstance(o, p.Linear)
    )
    return trace(recorded, range(index), [Tap("final", index - 1, head.x)], ids)["final"]


def _step_taps(steps: Sequence[Step]) -> list[Tap]:
    """One after every step, and one before those that add to something."""
    taps = [Tap(step.name, step.index, step.out) for step in steps]
    added = [step for step in steps if step.residual is not None]
    return taps + [Tap(f"{s.name}{BEFORE}", s.index, s.residual, before=True) for s in added if s.residual]


def _copies(
    taps: Sequence[Tap], index: int, places: dict[str, slice], out: Buffer
) -> Iterator[tuple[bool, p.Operation]]:
    for tap in taps:
        if tap.index == index:
            place = places[tap.name]
            to = out.columns(place.start, place.stop - place.start)
            yield tap.before, _copy(tap.buffer, to)


def _copy(buffer: Buffer, to: Buffer) -> p.Operation:
    """All rows: whoever traces asks for every token."""
    return p.SelectOutputs(buffer, to) if buffer.rows == "tokens" else p.Add(buffer, buffer, to, 0.0)
