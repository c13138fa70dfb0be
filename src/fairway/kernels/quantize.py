"""Turns float32 matrices into groups of int8 or int4 with one scale each.

Knows nothing of how kernels store them. The rule: scales keep 11 significant bits, so that every
backend, also one that holds them as float16, computes with exactly these weights.
"""

from __future__ import annotations

import numpy as np

from fairway.tensors import F32, GroupedTensor

_ROWS_AT_ONCE = 2048
# Where -8 (the code of the extreme value) may land relative to the extreme: tried from left to right.
_STRETCHES = (8.0, 7.7, 8.3, 7.4, 7.1, 8.7)


def quantize_int8(weight: F32, group: int = 32) -> GroupedTensor:
    """weight [rows, columns] to values -127..127 in groups of 16 or 32, scale = absmax / 127."""
    grouped = _grouped(weight, group)
    scales = _round_scales(np.abs(grouped).max(axis=2) / np.float32(127))
    values = np.empty(grouped.shape, np.int8)
    for rows in _slices(len(grouped)):
        scaled = np.rint(grouped[rows] * _inverse(scales[rows])[:, :, None])
        values[rows] = np.clip(scaled, -127, 127)
    return GroupedTensor(8, group, _ungrouped(values, weight.shape), scales)


def quantize_int4(weight: F32) -> GroupedTensor:
    """weight [rows, columns] to values 0..15 around zero 8, in groups of 32.

    The value largest in magnitude gets the code that lies 8 steps out. Of a few such scales, each
    refined by least squares, a group keeps the one with the smallest squared error.
    """
    grouped = _grouped(weight, 32)
    values = np.empty(grouped.shape, np.uint8)
    scales = np.empty(grouped.shape[:2], np.float32)
    for rows in _slices(len(grouped)):
        values[rows], scales[rows] = _search_int4(grouped[rows])
    return GroupedTensor(4, 32, _ungrouped(values, weight.shape), scales, zero=8)


def _search_int4(weight: F32) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.uint8]], F32]:
    """weight [rows, groups, 32] to codes and scales."""
    extreme = np.take_along_axis(weight, np.abs(weight).argmax(axis=2)[:, :, None], axis=2)[:, :, 0]
    best_gain = np.full(extreme.shape, -1, np.float32)
    best_scale = np.zeros(extreme.shape, np.float32)
    for stretch in _STRETCHES:
        codes = _codes(weight, extreme / np.float32(-stretch))
        dot, norm = np.einsum("rgk,rgk->rg", weight, codes), np.einsum("rgk,rgk->rg", codes, codes)
        # The error with the best scale for these codes is sum(w**2) - dot**2 / norm.
        scale = np.divide(dot, norm, out=np.zeros_like(dot), where=norm > 0)
        better = dot * scale > best_gain
        best_gain = np.where(better, dot * scale, best_gain)
        best_scale = np.where(better, scale, best_scale)
    best_scale = _round_scales(best_scale)
    return (_codes(weight, best_scale) + np.float32(8)).astype(np.uint8), best_scale


def _codes(weight: F32, scale: F32) -> F32:
    codes: F32 = np.clip(np.rint(weight * _inverse(scale)[:, :, None]), -8, 7)
    return codes


def _inverse(scale: F32) -> F32:
    return np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=np.abs(scale) > 1e-30)


def _round_scales(scales: F32) -> F32:
    """Rounds to 11 significant bits, half to even."""
    bits = np.ascontiguousarray(scales, np.float32).view(np.uint32)
    return ((bits + 0xFFF + ((bits >> 13) & 1)) & 0xFFFFE000).astype(np.uint32).view(np.float32)


def _grouped(weight: F32, group: int) -> F32:
    """[rows, groups, group], the last group padded with zeros."""
    if weight.ndim != 2 or weight.dtype != np.float32:
        raise ValueError(f"a weight is float32 [rows, columns], not {weight.dtype} {list(weight.shape)}")
    if group not in (16, 32):
        raise ValueError(f"a group has 16 or 32 columns, not {group}")
    rows, columns = weight.shape
    if columns % group:
        weight = np.pad(weight, ((0, 0), (0, -columns % group)))
    return weight.reshape(rows, -1, group)


def _ungrouped(
    values: np.ndarray[tuple[int, ...], np.dtype[np.generic]], shape: tuple[int, ...]
) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    return np.ascontiguousarray(values.reshape(shape[0], -1)[:, : shape[1]])


def _slices(rows: int) -> list[slice]:
    return [slice(start, start + _ROWS_AT_ONCE) for start in range(0, rows, _ROWS_AT_ONCE)]
