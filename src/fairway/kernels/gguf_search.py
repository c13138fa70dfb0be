"""Scales for groups of weights: of a few candidates, refined by least squares, the one with the least error.

Groups stand side by side, [width, groups]: the native kernels search sixteen of them at once, in the lanes of
a vector. The rule: every sum runs over a group from its first weight to its last, in float32, so that both
ways give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fairway.tensors import F32

TINY = np.float32(1e-15)
"""Nothing of this size is left in float16, in which scales are stored: groups below it are zeros."""
HALF_MAX = np.float32(65504)

LEVELS = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32)
"""Of the non-linear 4-bit types."""
_BOUNDS = (LEVELS[1:] + LEVELS[:-1]) / np.float32(2)


def total(values: F32) -> F32:
    """Sums [width, groups] over the width, first to last."""
    result: F32 = values[0].copy()
    for row in values[1:]:
        result += row
    return result


def inverse(scale: F32) -> F32:
    """1 / scale; 0 where the scale is hardly a number."""
    usable = np.abs(scale) > TINY
    return np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=usable)


def divided(a: F32, b: F32) -> F32:
    """a / b where b > 0, else 0."""
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)


def rounded(values: F32, least: float, most: float) -> F32:
    """Whole numbers, half to even, within bounds."""
    result: F32 = np.clip(np.rint(values), np.float32(least), np.float32(most))
    return result


def nearest_level(values: F32) -> F32:
    """The nearest of `LEVELS`, the upper of two."""
    return LEVELS[np.searchsorted(_BOUNDS, values, side="right")]


def half(values: F32) -> F32:
    """As float16 will hold them."""
    within = np.clip(values, -HALF_MAX, HALF_MAX) + np.float32(0)  # no negative zeros
    return within.astype(np.float16).astype(np.float32)


def half_up(values: F32) -> F32:
    """The nearest float16 that is not smaller in size: what counts steps of it never needs more of them."""
    near = (values + np.float32(0)).astype(np.float16)
    short = np.abs(near.astype(np.float32)) < np.abs(values)
    away = np.where(values > 0, np.float16(np.inf), np.float16(-np.inf))
    result: F32 = np.where(short, np.nextafter(near, away), near).astype(np.float32)
    return result


def extreme(x: F32) -> F32:
    """The value of each group that is largest in size; of two, the positive one."""
    highest, lowest = x.max(axis=0), x.min(axis=0)
    result: F32 = np.where(highest >= -lowest, highest, lowest)
    return result


def scales(x: F32, weights: F32, encode: Callable[[F32], F32], targets: tuple[float, ...]) -> F32:
    """Scales [groups] for x = scale * code. `encode` gives the codes of values that were divided by a scale;
    a target is the value before that at which the group's extreme lands."""
    largest = inverse(extreme(x))
    best = np.full(largest.shape, -1, np.float32)
    found = np.zeros_like(best)
    weighted = weights * x
    for target in targets:
        codes = encode(x * (np.float32(target) * largest))
        product, norm = total(weighted * codes), total(weights * codes * codes)
        # With the best scale for these codes the error is sum(w * x**2) - product**2 / norm.
        scale = divided(product, norm)
        better = product * scale > best
        best = np.where(better, product * scale, best)
        found = np.where(better, scale, found)
    return found


def refitted(x: F32, weights: F32, codes: F32) -> F32:
    """The best scales [groups] for codes that stay as they are."""
    return divided(total(weights * x * codes), total(weights * codes * codes))


class Affine:
    """Scales and offsets [groups] for x = scale * code + offset, codes 0 .. `most`.

    With `below_zero` no offset is above 0.
    """

    def __init__(self, x: F32, weights: F32, most: int, below_zero: bool) -> None:
        self._weights, self._most, self._below_zero = weights, most, below_zero
        lowest: F32 = x.min(axis=0)
        self._low = np.minimum(lowest, np.float32(0)) if below_zero else lowest
        self._above = x - self._low
        self._span = inverse(x.max(axis=0) - self._low)
        self._weighted = weights * self._above
        self._weight, self._sum = total(weights), total(self._weighted)
        self._best = np.full(self._low.shape, -1, np.float32)
        self._scale, self._shift = np.zeros_like(self._best), np.zeros_like(self._best)

    def search(self, steps: tuple[float, ...]) -> tuple[F32, F32]:
        for step in steps:
            self._try(rounded(self._above * (np.float32(self._most + step) * self._span), 0, self._most))
        codes = (self._above - self._shift) * inverse(self._scale)
        self._try(rounded(codes, 0, self._most))
        return self._scale, self._low + self._shift

    def _try(self, codes: F32) -> None:
        """Keeps the best scale and shift for these codes, if their error is the least so far."""
        product, sum_ = total(self._weighted * codes), total(self._weights * codes)
        norm = total(self._weights * codes * codes)
        determinant = self._weight * norm - sum_ * sum_
        solvable = determinant > 0
        scale = divided(self._weight * product - sum_ * self._sum, determinant)
        shift = divided(norm * self._sum - sum_ * product, determinant)
        scale = np.where(solvable, scale, divided(product, norm))
        if self._below_zero:
            above = shift + self._low > 0
            scale = np.where(above, divided(product + self._low * sum_, norm), scale)
            shift = np.where(above, -self._low, shift)
        rest = self._sum - scale * sum_
        gain = scale * (product + product - scale * norm) + shift * (rest + rest - shift * self._weight)
        better = gain > self._best
        self._best = np.where(better, gain, self._best)
        self._scale = np.where(better, scale, self._scale)
        self._shift = np.where(better, shift, self._shift)
