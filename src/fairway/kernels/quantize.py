"""Turns float32 matrices into groups of integers of 4, 5, 6 or 8 bits with one scale each.

Knows nothing of how kernels store them. The rules: scales keep 11 significant bits, so that every
backend, also one that holds them as float16, computes with exactly these weights; and the native
kernels, used where there are any, give the same bits as the NumPy below.
"""

from __future__ import annotations

import numpy as np

from fairway.kernels.extension import native, native_isas
from fairway.tensors import F32, Array, GroupedTensor

_ROWS_AT_ONCE = 2048
# Where the lowest code, that of the extreme value, may land relative to the extreme; in steps of 4 bits,
# tried from left to right.
_STRETCHES = (8.0, 7.7, 8.3, 7.4, 7.1, 8.7)


def quantize_int8(weight: F32, group: int = 32) -> GroupedTensor:
    """weight [rows, columns] to values -127..127 in groups of 16 or 32, scale = absmax / 127."""
    _check(weight, group)
    codes, scales = _quantize(weight, group, 8)
    return GroupedTensor(8, group, codes.view(np.int8), scales)


def quantize_low(weight: F32, bits: int) -> GroupedTensor:
    """weight [rows, columns] to values of 4, 5 or 6 bits around the middle one, in groups of 32.

    The value largest in magnitude gets the lowest code. Of a few such scales, each refined by least
    squares, a group keeps the one with the smallest squared error.
    """
    _check(weight, 32)
    if bits not in (4, 5, 6):
        raise ValueError(f"a low-bit weight has 4, 5 or 6 bits, not {bits}")
    codes, scales = _quantize(weight, 32, bits)
    return GroupedTensor(bits, 32, codes, scales, zero=_middle(bits))


def to_bf16(values: F32) -> Array:
    """float32 as bf16 bit patterns, rounded half to even; NaN stays NaN."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(values), np.uint32(0x7FC0), rounded).astype(np.uint16)


def _middle(bits: int) -> int:
    return int(1 << (bits - 1))


def _check(weight: F32, group: int) -> None:
    if weight.ndim != 2 or weight.dtype != np.float32:
        raise ValueError(f"a weight is float32 [rows, columns], not {weight.dtype} {list(weight.shape)}")
    if group not in (16, 32):
        raise ValueError(f"a group has 16 or 32 columns, not {group}")


def _quantize(weight: F32, group: int, bits: int) -> tuple[Array, F32]:
    """Codes as bytes [rows, columns] and scales [rows, groups]."""
    rows, columns = weight.shape
    codes = np.empty((rows, columns), np.uint8)
    scales = np.empty((rows, -(-columns // group)), np.float32)
    isas = native_isas()
    if isas:
        native.quantize(isas[0], np.ascontiguousarray(weight), codes, scales, group, bits)
        return codes, scales
    for start in range(0, rows, _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        grouped = _grouped(weight[part], group)
        found, scales[part] = _int8(grouped) if bits == 8 else _search(grouped, _middle(bits))
        codes[part] = found.view(np.uint8).reshape(len(grouped), -1)[:, :columns]
    return codes, scales


def _int8(weight: F32) -> tuple[Array, F32]:
    scales = _round_scales(np.abs(weight).max(axis=2) / np.float32(127))
    return _codes(weight, scales, -127, 127).astype(np.int8), scales


def _search(weight: F32, middle: int) -> tuple[Array, F32]:
    """weight [rows, groups, 32] to codes and scales; `middle` is the code of zero."""
    highest, lowest = weight.max(axis=2), weight.min(axis=2)
    extreme = np.where(highest >= -lowest, highest, lowest)
    best_gain = np.full(extreme.shape, -1, np.float32)
    best_scale = np.zeros(extreme.shape, np.float32)
    for stretch in _STRETCHES:
        steps = np.float32(stretch) * np.float32(middle / 8)
        codes = _codes(weight, extreme / -steps, -middle, middle - 1)
        dot, norm = _dot(weight, codes), _dot(codes, codes)
        # The error with the best scale for these codes is sum(w**2) - dot**2 / norm.
        scale = np.divide(dot, norm, out=np.zeros_like(dot), where=norm > 0)
        better = dot * scale > best_gain
        best_gain = np.where(better, dot * scale, best_gain)
        best_scale = np.where(better, scale, best_scale)
    best_scale = _round_scales(best_scale)
    codes = _codes(weight, best_scale, -middle, middle - 1) + np.float32(middle)
    return codes.astype(np.uint8), best_scale


def _dot(a: F32, b: F32) -> F32:
    """Sums over 32 in the order of the native kernels: halves onto halves."""
    products = a * b
    while products.shape[-1] > 1:
        half = products.shape[-1] // 2
        products = products[..., :half] + products[..., half:]
    total: F32 = products[..., 0]
    return total


def _codes(weight: F32, scale: F32, least: int, most: int) -> F32:
    small = np.abs(scale) <= np.float32(1e-30)
    inverse = np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=~small)
    codes: F32 = np.clip(np.rint(weight * inverse[:, :, None]), least, most)
    return codes


def _round_scales(scales: F32) -> F32:
    """Rounds to 11 significant bits, half to even."""
    bits = np.ascontiguousarray(scales, np.float32).view(np.uint32)
    return ((bits + 0xFFF + ((bits >> 13) & 1)) & 0xFFFFE000).astype(np.uint32).view(np.float32)


def _grouped(weight: F32, group: int) -> F32:
    """[rows, groups, group], the last group padded with zeros."""
    rows, columns = weight.shape
    if columns % group:
        weight = np.pad(weight, ((0, 0), (0, -columns % group)))
    return weight.reshape(rows, -1, group)
