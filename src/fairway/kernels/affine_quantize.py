"""Rounding to groups of codes with a scale and a bias, as MLX does: `weight = scale * code + bias`.

The end of a group's range that lies farther from zero becomes the bias, and the scale is stretched so that
zero is one of the codes. Arithmetic is float32 throughout; the same groups give MLX's own codes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fairway.tensors import F32

SMALLEST_SCALE = np.float32(1e-7)


def quantize_affine(values: F32, bits: int, group: int) -> tuple[npt.NDArray[np.uint8], F32, F32]:
    """values [rows, columns]: codes of the same shape, scales and biases [rows, columns / group]."""
    groups = values.reshape(len(values), -1, group)
    least, most = groups.min(axis=2), groups.max(axis=2)
    top = np.float32((1 << bits) - 1)
    below = np.abs(least) > np.abs(most)
    step = np.maximum((most - least) / top, SMALLEST_SCALE)
    step = np.where(below, step, -step)
    edge = np.where(below, least, most)
    zero = np.rint(edge / step)
    has_zero = zero != 0
    scales = np.where(has_zero, edge / np.where(has_zero, zero, np.float32(1)), step)
    biases = np.where(has_zero, edge, np.float32(0))
    codes = np.rint((groups - biases[..., None]) / scales[..., None])
    return np.clip(codes, 0, top).astype(np.uint8).reshape(values.shape), scales, biases
