"""Adapters and the products that they change: which delta belongs where, whether it fits, how it is held.

Knows programs and no backend. The rule: after `check_deltas` every delta has a part of its own and
its shapes fit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fairway.kernels.program import Delta, Linear, LoraPart, Operation
from fairway.kernels.quantize import quantize_int8, to_bf16
from fairway.kernels.reference_ops import to_float32
from fairway.tensors import DenseTensor, WeightTensor


@dataclass(frozen=True)
class ChangedProduct:
    """One product and what an adapter adds to it."""

    site: int
    """Its number among the products that adapters may change."""
    linear: Linear
    deltas: tuple[tuple[LoraPart, Delta], ...]


def adaptable(operations: Iterable[object]) -> list[Linear]:
    """The products that adapters may change, in the order they are recorded."""
    return [each for each in operations if isinstance(each, Linear) and each.lora]


def changed_products(operations: Iterable[Operation], deltas: Mapping[str, Delta]) -> list[ChangedProduct]:
    """The products that have a part among `deltas`."""
    found = []
    for site, linear in enumerate(adaptable(operations)):
        parts = tuple((part, deltas[part.name]) for part in linear.lora if part.name in deltas)
        if parts:
            found.append(ChangedProduct(site, linear, parts))
    return found


def check_deltas(operations: Iterable[Operation], deltas: Mapping[str, Delta]) -> None:
    """Raises ValueError for a delta without a part, or of another shape than its part."""
    parts = {part.name: (part, linear) for linear in adaptable(operations) for part in linear.lora}
    for name, delta in deltas.items():
        if name not in parts:
            raise ValueError(f"no product has a part {name!r}")
        part, linear = parts[name]
        a, b = delta.a.shape, delta.b.shape
        if (
            len(a) != 2
            or len(b) != 2
            or (b[0], a[1]) != (part.width, linear.x.width)
            or a[0] != b[1]
            or not a[0]
        ):
            raise ValueError(f"the delta of {name} is {list(a)} and {list(b)}")


def held_a(linear: Linear, a: DenseTensor) -> WeightTensor:
    """As it is multiplied: int8 beside a matrix of integers."""
    return quantize_int8(to_float32(a)) if linear.matrix.is_integer else a


def held_b(linear: Linear, b: DenseTensor) -> DenseTensor:
    """As it is multiplied: of 16 bits beside a matrix of integers."""
    return (
        b if b.type == "bf16" or not linear.matrix.is_integer else DenseTensor("bf16", to_bf16(to_float32(b)))
    )
