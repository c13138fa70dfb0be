"""Weights in 4 bits: one of 16 values times the largest absolute value of its block of 64 (QLoRA).

NF4's values are the normal distribution's quantiles (https://arxiv.org/abs/2305.14314, appendix E), as
bitsandbytes has them; blocks run over the matrix row after row, two codes to a byte, the first one high. The
largest values of the blocks may be rounded themselves, to 8 bits in blocks of 256 (double quantisation). A
matrix whose file holds groups of 4 bits keeps that file's numbers instead of being rounded again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from fairway.tensors import GroupedTensor
from fairway.tune.frozen_matrix import PiecewiseMatrix

QuantType = Literal["nf4", "int4"]
BLOCK = 64
SCALE_BLOCK = 256
NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
CODES: dict[QuantType, tuple[float, ...]] = {
    "nf4": NF4,
    "int4": tuple(max(code - 8, -7) / 7 for code in range(16)),
}
"""Ascending. int4: -7 to 7 in equal steps, where code 0 is never chosen."""


class Scales:
    """One float per block; in full, or as 8 bits of a map times the largest of 256, around their mean."""

    def __init__(self, values: Tensor, *, is_rounded: bool) -> None:
        self._codes: Tensor | None = None
        self._values = values
        if is_rounded:
            self._mean = values.mean()
            groups = _padded(values - self._mean, SCALE_BLOCK)
            self._values = groups.abs().amax(dim=1)
            self._codes = _nearest(groups / _divisor(self._values), dynamic_map()).flatten()[: len(values)]

    def part(self, start: int, end: int) -> Tensor:
        """float32, of blocks start to end."""
        if self._codes is None:
            return self._values[start:end]
        group = torch.arange(start, end, device=self._codes.device) // SCALE_BLOCK
        values = dynamic_map().to(self._codes.device)[self._codes[start:end].int()]
        return values * self._values[group] + self._mean


@dataclass(frozen=True)
class FourBitMatrix(PiecewiseMatrix):
    """w = scale of its block * values[code] + offset of its block"""

    shape: tuple[int, int]
    packed: Tensor
    """uint8, two codes each."""
    values: Tensor
    """float32 [256, 2]: what a byte means."""
    scales: Scales
    block: int = BLOCK
    offsets: Tensor | None = None

    def unpacked(self, start: int, end: int, kind: torch.dtype) -> Tensor:
        columns = self.shape[1]
        first, last = start * columns, end * columns
        found = functional.embedding(self.packed[first // 2 : -(-last // 2)].int(), self.values).flatten()
        blocks = first // self.block, -(-last // self.block)
        missing = (blocks[1] - blocks[0]) * self.block - len(found)
        found = (functional.pad(found, (0, missing)) if missing else found).view(-1, self.block)
        found *= self.scales.part(*blocks)[:, None]
        if self.offsets is not None:
            found += self.offsets[slice(*blocks), None]
        return found.flatten()[: last - first].view(end - start, columns).to(kind)


def rounded(
    pieces: Iterable[Tensor], shape: tuple[int, int], kind: QuantType, *, double: bool, device: torch.device
) -> FourBitMatrix:
    """A matrix of which `pieces` are some rows each, float32. `double`: its scales are rounded too."""
    table = torch.tensor(CODES[kind])
    packed, scales = [], []
    for values in _whole_blocks(pieces):
        blocks = _padded(values, BLOCK)
        largest = blocks.abs().amax(dim=1)
        codes = _nearest(blocks / _divisor(largest), table).flatten()
        packed.append(codes[::2] << 4 | codes[1::2])
        scales.append(largest)
    bytes_ = torch.cat(packed)[: -(-shape[0] * shape[1] // 2)].clone().to(device)
    held = Scales(torch.cat(scales).to(device), is_rounded=double)
    return FourBitMatrix(shape, bytes_, _bytes(table).to(device), held)


def _whole_blocks(pieces: Iterable[Tensor]) -> Iterator[Tensor]:
    """The values end to end, cut between two blocks."""
    left = torch.empty(0)
    for piece in pieces:
        values = torch.cat([left, piece.flatten()])
        end = len(values) // BLOCK * BLOCK
        if end:
            yield values[:end]
        left = values[end:]
    if len(left):
        yield left


def grouped(tensor: GroupedTensor, device: torch.device) -> FourBitMatrix | None:
    """The very numbers of a file's 4-bit groups; None for other bits, or groups that are not whole."""
    rows, columns = tensor.shape
    if tensor.bits != 4 or columns % tensor.group:
        return None
    codes = torch.from_numpy(np.ascontiguousarray(tensor.values)).flatten()
    packed = codes[::2] << 4 | codes[1::2]
    table = torch.arange(16, dtype=torch.float32) - tensor.zero
    scales = torch.from_numpy(tensor.scales.reshape(-1).copy()).to(device)
    offsets = None if tensor.offsets is None else torch.from_numpy(tensor.offsets.reshape(-1).copy())
    return FourBitMatrix(
        (rows, columns), packed.to(device), _bytes(table).to(device), Scales(scales, is_rounded=False),
        tensor.group, None if offsets is None else offsets.to(device),
    )  # fmt: skip


@cache
def dynamic_map() -> Tensor:
    """The 256 values of bitsandbytes' signed dynamic type, ascending: float32.

    Seven decades, each with twice the values of the one below (https://arxiv.org/abs/1511.04561).
    """
    values = [0.0, 1.0]
    for decade in range(7):
        edges = torch.linspace(0.1, 1, 2**decade + 1)
        middles = (10.0 ** (decade - 6) * (edges[:-1] + edges[1:]) / 2).tolist()
        values += [sign * each for each in middles for sign in (1, -1)]
    return torch.tensor(sorted(values))


def _nearest(values: Tensor, table: Tensor) -> Tensor:
    """uint8: which value of an ascending table each is nearest to."""
    middles = ((table[:-1] + table[1:]) / 2).to(values.device)
    if len(middles) > 16:
        return torch.bucketize(values, middles).to(torch.uint8)
    codes = torch.zeros_like(values, dtype=torch.uint8)
    for middle in middles:  # three times as fast as a search among so few
        codes += values > middle
    return codes


def _bytes(table: Tensor) -> Tensor:
    byte = torch.arange(256)
    return torch.stack([table[byte >> 4], table[byte & 15]], dim=1)


def _padded(values: Tensor, block: int) -> Tensor:
    """[blocks, block], the last one filled with zeros."""
    return functional.pad(values, (0, -len(values) % block)).view(-1, block)


def _divisor(largest: Tensor) -> Tensor:
    """[blocks, 1]; 1 where all of a block is zero."""
    return torch.where(largest == 0, 1, largest)[:, None]
