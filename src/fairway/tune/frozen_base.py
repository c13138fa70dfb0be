"""The frozen base of QLoRA: linear layers in 4 bits, embedding and head in 16, read a few rows at a time.

The rule: beside what stays, memory holds some rows of one tensor; the 16- or 32-bit model never exists.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from fairway.formats.bundle import Bundle, Tensors
from fairway.kernels.program import Linear
from fairway.models.conversion import floats_of, row_slices
from fairway.models.families import read_config
from fairway.models.names import stored_names
from fairway.models.parts import tensor_slices, turned_slices
from fairway.models.sizes import Expected
from fairway.tensors import DenseTensor, GroupedTensor, WeightTensor
from fairway.tune.bitsandbytes_matrix import BitsAndBytesMatrix
from fairway.tune.forward_names import NamedMatrix, recorded
from fairway.tune.four_bit import QuantType, grouped, rounded
from fairway.tune.frozen_matrix import FrozenMatrix, HalfMatrix


@dataclass(frozen=True)
class FourBits:
    """How linear layers are held."""

    kind: QuantType
    double: bool
    device: torch.device
    turned: frozenset[str]
    """Matrices that are stored [in, out], by their names in the checkpoint; held they are [out, in]."""

    def __call__(self, tensors: Tensors, name: str, expected: Expected) -> FrozenMatrix:
        rows, columns = expected.shape
        if expected.role == "table":
            return HalfMatrix(
                _half(tensor_slices(tensors, name, expected.shape), expected.shape, self.device)
            )
        if name in self.turned:
            tensor, shape = next(turned_slices(tensors, name, (rows, columns))), (columns, rows)
        else:
            tensor, shape = tensors.read(name), (rows, columns)
        if isinstance(tensor, GroupedTensor) and (kept := grouped(tensor, self.device)) is not None:
            return kept
        if self.device.type == "cuda" and self.kind == "nf4" and has_bitsandbytes():
            values = torch.from_numpy(floats_of(tensor)).to(self.device)
            return BitsAndBytesMatrix(values, double=self.double)
        return rounded(_rows(tensor), shape, self.kind, double=self.double, device=self.device)


def has_bitsandbytes() -> bool:
    return importlib.util.find_spec("bitsandbytes") is not None


def turned_in(bundle: Bundle) -> frozenset[str]:
    """Matrices that a checkpoint keeps [in, out] (GPT-2), by their names in it."""
    program = recorded(read_config(bundle.config, bundle.config_name))
    matrices = [each.matrix for each in program.operations if isinstance(each, Linear)]
    turned = [each for each in matrices if isinstance(each, NamedMatrix) and each.input_first]
    stored = stored_names(bundle.tensors.infos) if turned else {}
    return frozenset(stored[name] for each in turned for name in each.names if name in stored)


def _rows(tensor: WeightTensor) -> Iterator[Tensor]:
    return (torch.from_numpy(floats_of(rows)) for rows in row_slices(tensor))


def _half(slices: Iterator[WeightTensor], shape: tuple[int, ...], device: torch.device) -> Tensor:
    """float16 where the file holds that, else bfloat16."""
    values, start = torch.empty(0), 0
    for part in slices:
        if start == 0:
            is_half = isinstance(part, DenseTensor) and part.type == "f16"
            values = torch.empty(shape, dtype=torch.float16 if is_half else torch.bfloat16, device=device)
        for rows in _rows(part):
            values[start : start + len(rows)] = rows
            start += len(rows)
    return values
