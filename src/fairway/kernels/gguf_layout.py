"""Codes and scales to the bytes of ggml's blocks: `formats/gguf_blocks.py` backwards, written apart from it.

Codes are uint8 [blocks, weights of a block], scales as their type holds them. Nothing is rounded here.
https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h defines the layouts.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fairway.tensors import F32

Bytes: TypeAlias = npt.NDArray[np.uint8]


_TWO, _FOUR = np.uint8(3), np.uint8(15)
"""Masks of as many bits."""


def halves(values: F32) -> Bytes:
    """Float32 [blocks] that float16 holds exactly, as [blocks, 2]."""
    return values.astype("<f2").view(np.uint8).reshape(-1, 2)


def above(low: Bytes, high: Bytes) -> Bytes:
    """Four bits and four bits."""
    return (low & _FOUR) | (high << np.uint8(4))


def four_crumbs(parts: Bytes) -> Bytes:
    """[n, 4, k] to [n, k]: two bits of each, the first lowest."""
    first, second, third, fourth = np.moveaxis(parts & _TWO, 1, 0)
    joined: Bytes = first | (second << np.uint8(2)) | (third << np.uint8(4)) | (fourth << np.uint8(6))
    return joined


def nibbles(codes: Bytes, width: int) -> Bytes:
    """Of each 2 * width codes the first half below the second; four bits are kept of each."""
    pairs = codes.reshape(len(codes), -1, 2, width)
    return above(pairs[:, :, 0], pairs[:, :, 1]).reshape(len(codes), -1)


def crumbs(codes: Bytes) -> Bytes:
    """Of each 128 codes four quarters above each other; two bits are kept of each."""
    return four_crumbs(codes.reshape(-1, 4, 32)).reshape(len(codes), -1)


def bits(codes: Bytes, bit: int) -> Bytes:
    """One bit of each of 256 codes: bit g of byte i belongs to code 32 g + i."""
    planes = (codes >> np.uint8(bit) & np.uint8(1)).reshape(len(codes), 8, 32)
    return np.packbits(planes, axis=1, bitorder="little").reshape(len(codes), 32)


def fifth_bits(codes: Bytes) -> Bytes:
    """The fifth bit of each of 32 codes, in order."""
    return np.packbits(codes >> np.uint8(4), axis=1, bitorder="little")


def six_bit_pairs(scales: Bytes, minimums: Bytes) -> Bytes:
    """Eight 6-bit scales and eight 6-bit minimums in 12 bytes."""
    first, second = (each[:, :4] | (each[:, 4:] >> np.uint8(4) << np.uint8(6)) for each in (scales, minimums))
    return np.concatenate([first, second, above(scales[:, 4:], minimums[:, 4:])], axis=1)


def six_bits(scales: Bytes) -> Bytes:
    """Sixteen 6-bit scales in 12 bytes: the lower four bits of two, then the upper bits of four."""
    return np.concatenate(
        [nibbles(scales, 8), four_crumbs((scales >> np.uint8(4)).reshape(-1, 4, 4))], axis=1
    )


def upper_bits(scales: Bytes) -> Bytes:
    """The upper two bits of eight 6-bit scales in 2 bytes."""
    return four_crumbs((scales >> np.uint8(4)).reshape(-1, 2, 4).swapaxes(1, 2))


def lower_bits(scales: Bytes) -> Bytes:
    """The lower four bits of eight 6-bit scales in 4 bytes, neighbours together."""
    return above(scales[:, ::2], scales[:, 1::2])
