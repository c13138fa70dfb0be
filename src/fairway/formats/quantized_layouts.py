"""How GPTQ, AWQ, compressed-tensors, MXFP4 and MLX lay low-bit weights into integers: codes as stored.

    weight = scale * (code - zero)        MLX: scale * code + bias

The rule: codes, zeros and scales come out exactly as stored; bringing them into groups that kernels know is
`grouped`'s and `biased`'s, which repeat scales and turn zeros that differ into offsets.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fairway.errors import UnsupportedError
from fairway.tensors import F32, Array, DenseTensor, GroupedTensor, WeightTensor

GROUP = 32
"""The widest group of the kernels; wider ones are several of these with one scale."""
AWQ_ORDER = (0, 4, 1, 5, 2, 6, 3, 7)
"""AWQ's eight nibbles hold outputs 0, 2, 4, 6, 1, 3, 5, 7: output k is nibble AWQ_ORDER[k]."""
FP4_ZERO = 16
FP4_TWICE = np.array([16, 17, 18, 19, 20, 22, 24, 28, 16, 15, 14, 13, 12, 10, 8, 4], np.uint8)
"""E2M1's sixteen values, doubled so that all are whole, counted from `FP4_ZERO`: they fit 5 bits."""
E8M0_BIAS = 127

Codes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.int32]


def fields(words: Words, bits: int) -> Codes:
    """int32 words [..., n] as their unsigned fields [..., n, 32 / bits], the lowest bits first."""
    parts = np.ascontiguousarray(words).view(np.uint8).reshape(*words.shape, 4)
    if bits == 8:
        return parts
    return np.stack([parts & 15, parts >> 4], axis=-1).reshape(*words.shape, 8)


def gptq_codes(qweight: Words, bits: int) -> Codes:
    """qweight [in * bits / 32, out], packed along the inputs: codes [out, in]."""
    return fields(qweight.T, bits).reshape(qweight.shape[1], -1)


def gptq_zeros(qzeros: Words, bits: int, added: int) -> Array:
    """qzeros [groups, out * bits / 32]: zeros [out, groups]. The first format stored them less one."""
    zeros = fields(qzeros, bits).reshape(len(qzeros), -1).astype(np.int16) + added
    return zeros.T & ((1 << bits) - 1)


def awq_codes(packed: Words) -> Codes:
    """qweight [in, out / 8] or qzeros [groups, out / 8]: [out, in] or [out, groups]."""
    codes = fields(packed, 4)[..., AWQ_ORDER].reshape(len(packed), -1)
    return np.ascontiguousarray(codes.T)


def packed_rows(packed: Words, columns: int, bits: int) -> Codes:
    """compressed-tensors' weight_packed [out, ceil(in * bits / 32)]: codes [out, in]."""
    return fields(packed, bits).reshape(len(packed), -1)[:, :columns]


def mxfp4(blocks: Codes, scales: Codes) -> GroupedTensor:
    """blocks [rows, groups, 16], two E2M1 each, the first in the low bits; scales [rows, groups] of E8M0."""
    pairs = np.stack([blocks & 15, blocks >> 4], axis=-1).reshape(len(blocks), -1)
    powers = np.ldexp(np.float32(1), scales.astype(np.int32) - E8M0_BIAS - 1)
    return GroupedTensor(5, GROUP, FP4_TWICE[pairs], powers.astype(np.float32), FP4_ZERO)


def grouped(codes: Codes, scales: F32, zeros: Array | int, bits: int, group: int) -> GroupedTensor:
    """codes [out, in] unsigned; scales, and zeros where they differ, [out, groups] of `group` columns.

    Exact: a scale of 16 bits times a code or a zero has no more digits than float32.
    """
    half = 1 << (bits - 1)
    is_centred = bool(np.all(np.asarray(zeros) == half))
    offsets = None if is_centred else np.float32(-1) * scales * np.asarray(zeros, np.float32)
    width, repeats = (group, 1) if group in (16, GROUP) else (GROUP, _repeats(group, codes.shape[1], scales))
    groups = -(-codes.shape[1] // width)
    wide = np.repeat(scales, repeats, axis=1)[:, :groups]
    wide_offsets = None if offsets is None else np.repeat(offsets, repeats, axis=1)[:, :groups]
    if bits == 4:
        zero = half if offsets is None else 0
        return GroupedTensor(4, width, codes, wide, zero, wide_offsets)
    if wide_offsets is not None:
        wide_offsets = wide_offsets + half * wide
    return GroupedTensor(8, width, (codes ^ 0x80).view(np.int8), wide, 0, wide_offsets)


def biased(codes: Codes, scales: F32, biases: F32, bits: int) -> GroupedTensor:
    """codes [out, in] unsigned; scales and biases [out, groups] of a multiple of 32 columns.

    Exact where scales have 16 bits; beside float32 scales, the offsets of 8-bit codes are rounded to float32.
    """
    repeats = codes.shape[1] // scales.shape[1] // GROUP
    wide, offsets = (np.repeat(each, repeats, axis=1) for each in (scales, biases))
    if bits == 8:
        return GroupedTensor(
            8, GROUP, (codes ^ 0x80).view(np.int8), wide, 0, offsets + np.float32(128) * wide
        )
    return GroupedTensor(max(bits, 4), GROUP, codes, wide, 0, offsets)


def _repeats(group: int, columns: int, scales: F32) -> int:
    if scales.shape[1] == 1:
        return -(-columns // GROUP)
    if group % GROUP:
        raise UnsupportedError(
            f"The weights have groups of {group}, and the kernels know 16 and multiples of {GROUP}.",
            hint="Use the original checkpoint with --weights int4.",
        )
    return group // GROUP


def scattered(codes: Codes, scales: F32, zeros: Array | int, group_of: Array) -> WeightTensor:
    """Columns whose groups do not stand together (act-order): float16, as the method's own libraries make it.

    group_of [in] names each column's group.
    """
    centre = np.asarray(zeros, np.float32)
    columns = centre if centre.ndim == 0 else centre[:, group_of]
    return DenseTensor("f16", (scales[:, group_of] * (codes - columns)).astype(np.float16))
