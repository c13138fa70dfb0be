"""One decoder per quantised ggml block type: bytes to integers, scales and offsets, vectorised.

Input: blocks, uint8 [n, block_bytes]. Output: values [n, block_size] (int8 for the 8-bit form,
uint8 otherwise), scales float32 [n, groups], offsets float32 [n, groups] or None. The integers are
the file's own and a scale is a product of two exact numbers, so nothing is rounded here.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from fairway.formats.floats import Bytes
from fairway.tensors import F32, Array

Decoded: TypeAlias = tuple[Array, F32, F32 | None]

LOW = np.uint8(15)

# The 16 levels of the non-linear 4-bit types.
IQ4_LEVELS = np.array(
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], dtype=np.int8
)


def half(blocks: Bytes, start: int) -> F32:
    """A float16 field as float32 [n, 1]."""
    return np.ascontiguousarray(blocks[:, start : start + 2]).view("<f2").astype(np.float32)


def nibbles(packed: Bytes) -> Bytes:
    """[n, k] -> [n, 2k]: all low halves, then all high halves."""
    return np.concatenate([packed & LOW, packed >> 4], axis=1)


def crumbs(packed: Bytes, shifts: tuple[int, ...]) -> Bytes:
    """[n, k] -> [n, len(shifts), k]: two bits at each shift."""
    return np.stack([(packed >> shift) & np.uint8(3) for shift in shifts], axis=1)


def fifth_bits(packed: Bytes) -> Bytes:
    """Four bytes of high bits -> [n, 32] of 0 or 16, bit i belonging to weight i."""
    return np.unpackbits(packed, axis=1, bitorder="little") << np.uint8(4)


def q4_0(blocks: Bytes) -> Decoded:
    return nibbles(blocks[:, 2:]), half(blocks, 0), None


def q4_1(blocks: Bytes) -> Decoded:
    return nibbles(blocks[:, 4:]), half(blocks, 0), half(blocks, 2)


def q5_0(blocks: Bytes) -> Decoded:
    values = nibbles(blocks[:, 6:]) | fifth_bits(blocks[:, 2:6])
    return values, half(blocks, 0), None


def q5_1(blocks: Bytes) -> Decoded:
    values = nibbles(blocks[:, 8:]) | fifth_bits(blocks[:, 4:8])
    return values, half(blocks, 0), half(blocks, 2)


def q8_0(blocks: Bytes) -> Decoded:
    return blocks[:, 2:].view(np.int8), half(blocks, 0), None


def q2_k(blocks: Bytes) -> Decoded:
    """16 groups of 16: 4-bit scale and minimum per group, then d and dmin of the block."""
    packed = blocks[:, 16:80].reshape(-1, 32)
    values = crumbs(packed, (0, 2, 4, 6)).reshape(len(blocks), 256)
    scales = half(blocks, 80) * (blocks[:, :16] & LOW).astype(np.float32)
    offsets = half(blocks, 82) * (blocks[:, :16] >> 4).astype(np.float32)
    return values, scales, -offsets


def q3_k(blocks: Bytes) -> Decoded:
    """16 groups of 16: two low bits, a third bit in the mask, and a 6-bit signed scale per group."""
    low = crumbs(blocks[:, 32:96].reshape(-1, 32), (0, 2, 4, 6)).reshape(len(blocks), 8, 32)
    mask = np.stack([(blocks[:, :32] >> bit) & np.uint8(1) for bit in range(8)], axis=1)
    packed = blocks[:, 96:108]
    high = crumbs(packed[:, 8:], (0, 2, 4, 6)).reshape(len(blocks), 16)
    six_bits = nibbles(packed[:, :8]) | (high << 4)
    scales = half(blocks, 108) * (six_bits.astype(np.float32) - np.float32(32))
    return (low | (mask << 2)).reshape(len(blocks), 256), scales, None


def six_bit_pairs(packed: Bytes) -> tuple[Bytes, Bytes]:
    """The 12 bytes of Q4_K and Q5_K: eight 6-bit scales and eight 6-bit minimums."""
    first, second, third = packed[:, :4], packed[:, 4:8], packed[:, 8:12]
    scales = np.concatenate([first & np.uint8(63), (third & LOW) | ((first >> 6) << 4)], axis=1)
    minimums = np.concatenate([second & np.uint8(63), (third >> 4) | ((second >> 6) << 4)], axis=1)
    return scales, minimums


def k_scales(blocks: Bytes) -> tuple[F32, F32]:
    scales, minimums = six_bit_pairs(blocks[:, 4:16])
    return half(blocks, 0) * scales.astype(np.float32), -(half(blocks, 2) * minimums.astype(np.float32))


def q4_k(blocks: Bytes) -> Decoded:
    """8 groups of 32; each 32 bytes hold two groups, low halves first."""
    values = nibbles(blocks[:, 16:].reshape(-1, 32)).reshape(len(blocks), 256)
    return values, *k_scales(blocks)


def q5_k(blocks: Bytes) -> Decoded:
    """As Q4_K, with a fifth bit: bit g of high byte i belongs to weight i of group g."""
    low = nibbles(blocks[:, 48:].reshape(-1, 32)).reshape(len(blocks), 8, 32)
    high = np.stack([(blocks[:, 16:48] >> bit) & np.uint8(1) for bit in range(8)], axis=1)
    values = (low | (high << 4)).reshape(len(blocks), 256)
    return values, *k_scales(blocks)


def q6_k(blocks: Bytes) -> Decoded:
    """16 groups of 16: four low bits, two high bits, a signed 8-bit scale per group."""
    low = nibbles(blocks[:, :128].reshape(-1, 64)).reshape(len(blocks), 8, 32)
    high = crumbs(blocks[:, 128:192].reshape(-1, 32), (0, 2, 4, 6)).reshape(len(blocks), 8, 32)
    values = (low | (high << 4)).reshape(len(blocks), 256)
    group_scales = np.ascontiguousarray(blocks[:, 192:208]).view(np.int8).astype(np.float32)
    return values, half(blocks, 208) * group_scales, None


def iq4_nl(blocks: Bytes) -> Decoded:
    return IQ4_LEVELS[nibbles(blocks[:, 2:])], half(blocks, 0), None


def iq4_xs(blocks: Bytes) -> Decoded:
    """8 groups of 32: d, then a 6-bit scale per group (2 high bits in scales_h, 4 low in scales_l)."""
    high_bits = np.ascontiguousarray(blocks[:, 2:4]).view("<u2")
    high = np.stack([(high_bits[:, 0] >> shift) & 3 for shift in range(0, 16, 2)], axis=1).astype(np.uint8)
    low = np.stack([blocks[:, 4:8] & LOW, blocks[:, 4:8] >> 4], axis=2).reshape(len(blocks), 8)
    scales = half(blocks, 0) * ((low | (high << 4)).astype(np.float32) - np.float32(32))
    values = nibbles(blocks[:, 8:].reshape(-1, 16)).reshape(len(blocks), 256)
    return IQ4_LEVELS[values], scales, None
