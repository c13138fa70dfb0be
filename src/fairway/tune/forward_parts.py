"""A recorded program in three parts: before the layers, each layer, and from the chosen tokens to the logits.

What separates layers is the number in their tensors' names. The rule: between two layers nothing lives but
the residual stream, so that a layer can be computed again for its gradient.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from fairway.errors import InternalError
from fairway.kernels.program import (
    AddPosition,
    Buffer,
    Embed,
    LayerNorm,
    Linear,
    Operation,
    Program,
    RMSNorm,
    SelectOutputs,
)
from fairway.tune.forward_names import NamedFloats, NamedMatrix

LAYER = re.compile(r"\.(?:layers|h)\.(\d+)\.")


@dataclass
class Parts:
    """`hidden` is the residual stream, `selected` the tokens of it whose logits are wanted."""

    hidden: Buffer
    selected: Buffer
    logits: Buffer
    first: list[Operation] = field(default_factory=list)
    layers: list[list[Operation]] = field(default_factory=list)
    last: list[Operation] = field(default_factory=list)


def split(program: Program) -> Parts:
    embed = next(each for each in program.operations if isinstance(each, Embed))
    at = next(i for i, each in enumerate(program.operations) if isinstance(each, SelectOutputs))
    select = program.operations[at]
    if not isinstance(select, SelectOutputs) or program.logits is None:
        raise InternalError("a recording without outputs")
    parts = Parts(embed.out, select.out, program.logits, last=program.operations[at + 1 :])
    for operation in program.operations[:at]:
        layer = layer_of(operation)
        if layer is not None and layer == len(parts.layers):
            parts.layers.append([])
        (parts.layers[-1] if parts.layers else parts.first).append(operation)
    return parts


def layer_of(operation: Operation) -> int | None:
    """From 0; None for what has no weights of a layer."""
    match = next(filter(None, map(LAYER.search, tensor_names(operation))), None)
    return None if match is None else int(match[1])


def layer_matrices(program: Program) -> list[tuple[str, Linear]]:
    """The matrices inside layers by their tensors' names, each with what multiplies by it."""
    return [
        (name, operation)
        for layer in split(program).layers
        for operation in layer
        if isinstance(operation, Linear)
        for name in _matrix(operation).names
    ]


def _matrix(operation: Linear) -> NamedMatrix:
    assert isinstance(operation.matrix, NamedMatrix)
    return operation.matrix


def tensor_names(operation: Operation) -> tuple[str, ...]:
    """The tensors that an operation reads."""
    if isinstance(operation, Embed | AddPosition):
        held: tuple[object, ...] = (operation.table,)
    elif isinstance(operation, Linear):
        held = (operation.matrix, operation.bias)
    elif isinstance(operation, LayerNorm):
        held = (operation.weight, operation.bias)
    elif isinstance(operation, RMSNorm):
        held = (operation.weight,)
    else:
        return ()
    return tuple(name for each in held if isinstance(each, NamedMatrix | NamedFloats) for name in each.names)
