"""Prefix tuning: trained keys and values that stand before every example (https://arxiv.org/abs/2101.00190).

As PEFT has it without projection: they are put into the cache as they are, unturned by the rotary embedding,
and take the first positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from fairway.errors import UnsupportedError
from fairway.formats.prefix_peft import TENSOR, PrefixShape, write_prefix
from fairway.kernels.program import Attention, Program


class PrefixTokens:
    """The trained tensor, by the name that PEFT gives it. It begins as PEFT's does: normal."""

    def __init__(self, shape: PrefixShape) -> None:
        self.shape = shape
        self.tensors = {TENSOR: torch.empty(shape.shape).normal_()}

    def __len__(self) -> int:
        return self.shape.num_virtual_tokens

    def at(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values of one layer, [virtual tokens, kv heads * head size] each."""
        width = self.shape.width
        key, value = self.tensors[TENSOR][:, layer * 2 * width : (layer + 1) * 2 * width].split(width, dim=1)
        return key, value

    def to(self, device: torch.device) -> None:
        self.tensors[TENSOR] = self.tensors[TENSOR].to(device)

    def write(self, folder: Path, base: str | None, tensors: Mapping[str, Tensor]) -> None:
        """PEFT's folder, of tensors named as `self.tensors`."""
        write_prefix(self.shape, base, tensors[TENSOR].detach().float().cpu().numpy(), folder)


def prefix_for(program: Program, num_virtual_tokens: int) -> PrefixTokens:
    """Raises `UnsupportedError` where layers cache keys of different sizes."""
    layers = [each for each in program.operations if isinstance(each, Attention)]
    sizes = {(each.num_kv_heads, each.head_size) for each in layers}
    if len(sizes) != 1:
        raise UnsupportedError(
            "The layers of this model cache keys of different sizes, which a prefix cannot have.",
            hint="Train an adapter: --method lora.",
        )
    (num_kv_heads, head_size) = sizes.pop()
    return PrefixTokens(PrefixShape(num_virtual_tokens, len(layers), num_kv_heads, head_size))
