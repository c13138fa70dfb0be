"""What each operation means, in NumPy float32: the text that every fast kernel is tested against.

Knows no program and no step, only arrays. The rule: each token is computed on its own, by calls
whose shapes do not depend on the batch, so that BLAS cannot sum in another order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fairway.kernels.program import Activation
from fairway.tensors import F32, I32, Array, DenseTensor, GroupedTensor

GROUP = 32
TINY = np.float32(2.0**-100)
HUGE = np.float32(2.0**100)
F16_MAX = 65504.0
F32_MAX = float(np.finfo(np.float32).max)


def to_float32(tensor: DenseTensor) -> F32:
    """The values of a dense tensor, exactly."""
    if tensor.type == "bf16":
        return (tensor.values.astype(np.uint32) << 16).view(np.float32)
    return tensor.values.astype(np.float32)


def dequantize(tensor: GroupedTensor) -> F32:
    """scales * (values - zero) + offsets, [rows, columns]"""
    columns = tensor.shape[1]
    scales = np.repeat(tensor.scales, tensor.group, axis=1)[:, :columns]
    weights = scales * (tensor.values.astype(np.float32) - np.float32(tensor.zero))
    if tensor.offsets is not None:
        weights += np.repeat(tensor.offsets, tensor.group, axis=1)[:, :columns]
    return weights.astype(np.float32)


def quantize_activations(x: F32, group: int = GROUP) -> tuple[npt.NDArray[np.int8], F32]:
    """x [T, columns] as int8 [T, groups, group] and scales [T, groups]; the last group is padded with 0.

    scale = the power of two at or above absmax / 127, so that applying it only adds exponents; value =
    round_half_even(x / scale). A group with absmax / 127 below 2**-100 has scale 1 and is all zeros.
    """
    grouped = _in_groups(x, group)
    ratio = np.abs(grouped).max(axis=2) / np.float32(127)
    mantissa, exponent = np.frexp(np.minimum(ratio, HUGE))
    scales = np.ldexp(np.float32(1), exponent - (mantissa == 0.5))
    scales = np.where(ratio < TINY, np.float32(1), scales).astype(np.float32)
    return _codes(grouped / scales[:, :, None]), scales


def quantize_cached(x: F32, group: int) -> tuple[npt.NDArray[np.int8], F32]:
    """Keys or values as the int8 cache keeps them: shapes as above, scale = absmax / 127.

    value = round_half_even(x * (127 / absmax)). A group whose absmax is below 2**-100 is all zeros
    with scale 0.
    """
    grouped = _in_groups(x, group)
    absmax = np.abs(grouped).max(axis=2)
    absmax = np.where(absmax < TINY, np.float32(0), absmax)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(absmax > 0, np.float32(127) / absmax, np.float32(0))
    return _codes(grouped * inverse[:, :, None]), (absmax / np.float32(127)).astype(np.float32)


def _in_groups(x: F32, group: int) -> F32:
    tokens, columns = x.shape
    groups = -(-columns // group)
    padded = np.zeros((tokens, groups * group), np.float32)
    padded[:, :columns] = x
    return padded.reshape(tokens, groups, group)


def _codes(whole: F32) -> npt.NDArray[np.int8]:
    codes: npt.NDArray[np.int8] = np.clip(np.nan_to_num(np.rint(whole)), -127, 127).astype(np.int8)
    return codes


def linear_dense(x: F32, weight: F32) -> F32:
    """x @ weight.T, one token at a time."""
    return np.stack([weight @ row for row in x]) if len(x) else np.zeros((0, len(weight)), np.float32)


def linear_grouped(x: F32, tensor: GroupedTensor) -> F32:
    """Integer dot products of one group at a time, scaled and summed in float32 in rising order.

    float32 holds these integers exactly (at most 32 * 128 * 127 < 2**24). A token with a value that
    codes cannot hold (not a number, or beyond 127 * 2**100) is not a number everywhere.
    """
    quantized, x_scales = quantize_activations(x)
    tokens, columns = x.shape
    flat = quantized.reshape(tokens, x_scales.shape[1] * GROUP)[:, :columns].astype(np.float32)
    out = np.zeros((tokens, tensor.shape[0]), np.float32)
    for g in range(tensor.scales.shape[1]):
        part = slice(g * tensor.group, min((g + 1) * tensor.group, columns))
        weights = tensor.values[:, part].astype(np.float32) - np.float32(tensor.zero)
        x_scale = x_scales[:, g * tensor.group // GROUP, None]
        out += (flat[:, part] @ weights.T) * (tensor.scales[None, :, g] * x_scale)
        if tensor.offsets is not None:
            out += tensor.offsets[None, :, g] * (x_scale * flat[:, part].sum(axis=1, keepdims=True))
    out[~(np.abs(x).max(axis=1, initial=0) < 127 * HUGE)] = np.nan
    return out


def rms_norm(x: F32, weight: F32, eps: float) -> F32:
    """Over the last axis."""
    mean_square = np.mean(x * x, axis=-1, keepdims=True)
    out: F32 = x / np.sqrt(mean_square + np.float32(eps)) * weight
    return out


def layer_norm(x: F32, weight: F32, bias: F32, eps: float) -> F32:
    """Over the last axis; the variance is the mean squared distance from the mean."""
    centred = x - np.mean(x, axis=-1, keepdims=True)
    variance = np.mean(centred * centred, axis=-1, keepdims=True)
    out: F32 = centred / np.sqrt(variance + np.float32(eps)) * weight + bias
    return out


_erf = np.vectorize(math.erf, otypes=[np.float32])


def activate(x: F32, activation: Activation) -> F32:
    """silu, gelu (by the error function), gelu_tanh (its usual approximation) or relu."""
    match activation:
        case "silu":
            return (x * _sigmoid(x)).astype(np.float32)
        case "gelu":
            smooth: F32 = 0.5 * x * (1 + _erf(x / math.sqrt(2))) if x.size else x
            return smooth
        case "gelu_tanh":
            inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)
            curved: F32 = (0.5 * x * (1 + np.tanh(inner))).astype(np.float32)
            return curved
        case "relu":
            positive: F32 = np.maximum(x, np.float32(0))
            return positive
    raise ValueError(f"unknown activation {activation!r}")


def _sigmoid(x: F32) -> F32:
    with np.errstate(over="ignore"):
        return (1 / (1 + np.exp(-x))).astype(np.float32)


def rope(x: F32, positions: I32, inv_freq: F32, factor: float) -> F32:
    """x [T, heads, head_size]: rotates pairs (i, i + len(inv_freq)) of each head."""
    half = len(inv_freq)
    angles = positions.astype(np.float32)[:, None] * inv_freq
    cos = (np.cos(angles.astype(np.float64)) * factor).astype(np.float32)[:, None, :]
    sin = (np.sin(angles.astype(np.float64)) * factor).astype(np.float32)[:, None, :]
    out = x.copy()
    a, b = x[..., :half], x[..., half : 2 * half]
    out[..., :half] = a * cos - b * sin
    out[..., half : 2 * half] = b * cos + a * sin
    return out


def finite(x: F32, largest: float) -> F32:
    """What the cache stores: clamped to its type's range, NaN becoming the largest value."""
    return np.nan_to_num(np.clip(x, -largest, largest), nan=largest)


def attend(q: F32, keys: F32, values: F32, scale: float, softcap: float | None) -> F32:
    """One token: q [heads, size] over keys and values [length, kv_heads, size] -> [heads, size]."""
    group = q.shape[0] // keys.shape[1]
    out = np.empty_like(q)
    for head in range(q.shape[0]):
        weights = _softmax((keys[:, head // group] @ q[head]) * np.float32(scale), softcap)
        out[head] = weights @ values[:, head // group]
    return out


@dataclass(frozen=True)
class Int8Cache:
    """Keys of `length` tokens, int8 [length, kv_heads, groups, 32] with scales [length, kv_heads, groups],
    and values, int8 [length, kv_heads, size] with scales [length, kv_heads]."""

    keys: npt.NDArray[np.int8]
    key_scales: F32
    values: npt.NDArray[np.int8]
    value_scales: F32

    @classmethod
    def of(cls, parts: Sequence[Array]) -> Int8Cache:
        keys, key_scales, values, value_scales = parts
        return cls(
            keys.astype(np.int8), key_scales.astype(np.float32),
            values.astype(np.int8), value_scales.astype(np.float32),
        )  # fmt: skip


def attend_int8(q: F32, cache: Int8Cache, scale: float, softcap: float | None) -> F32:
    """One token: q [heads, size], scaled and quantised per 32 values, over an int8 cache -> [heads, size]."""
    group = q.shape[0] // cache.keys.shape[1]
    quantized, q_scales = quantize_activations(q * np.float32(scale))
    out = np.empty_like(q)
    for head in range(q.shape[0]):
        keys = cache.keys[:, head // group].astype(np.float32)
        products = (keys * quantized[head].astype(np.float32)).sum(axis=2, dtype=np.float32)
        scores = (products * (cache.key_scales[:, head // group] * q_scales[head])).sum(
            axis=1, dtype=np.float32
        )
        weights = _softmax(scores, softcap) * cache.value_scales[:, head // group]
        out[head] = weights @ cache.values[:, head // group].astype(np.float32)
    return out


def _softmax(scores: F32, softcap: float | None) -> F32:
    if softcap is not None:
        scores = np.float32(softcap) * np.tanh(scores / np.float32(softcap))
    weights: F32 = np.exp(scores - scores.max())
    weights /= weights.sum()
    return weights


def soft_cap(x: F32, cap: float) -> F32:
    """cap * tanh(x / cap)"""
    capped: F32 = np.float32(cap) * np.tanh(x / np.float32(cap))
    return capped
