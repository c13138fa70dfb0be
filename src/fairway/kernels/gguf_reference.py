"""What each quantised GGUF type means as a way to round weights, in NumPy: floats in, ggml's bytes out.

Each function takes blocks of weights and the importance of each weight, float32 [blocks, weights of a
block], and gives uint8 [blocks, bytes of a block]. The rule: the native kernels give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fairway.kernels import gguf_layout as layout
from fairway.kernels.gguf_layout import Bytes
from fairway.kernels.gguf_search import (
    LEVELS,
    Affine,
    divided,
    extreme,
    half,
    half_up,
    inverse,
    nearest_level,
    refitted,
    rounded,
    scales,
    total,
)
from fairway.tensors import F32

BLOCK = 256
"""Weights in a block of the K types."""
STEPS = (-1.5, -1.25, -1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0)
FEW_STEPS = (-1.25, -0.75, -0.25, 0.25, 0.75)
TWO_BIT_STEPS = (-0.5, -0.25, 0.0, 0.25, 0.5)
"""What is added to the largest code to find scales with an offset: few where bits abound."""


@dataclass(frozen=True)
class Form:
    """What codes without an offset can be: `encode` takes values divided by a scale, the extreme of a group
    is tried at each of `targets`."""

    encode: Callable[[F32], F32]
    targets: tuple[float, ...]
    zero: int = 0
    """What stored codes count from."""


def centred(reach: int, *targets: float) -> Form:
    """Whole codes -reach .. reach - 1."""
    return Form(lambda values: rounded(values, -reach, reach - 1), targets, reach)


THREE_BITS = centred(4, -4.0, -3.6, -4.4, -3.3, -4.8, -3.0)
FOUR_BITS = centred(8, -8.0, -7.7, -8.3, -7.4, -7.1, -8.7)
FIVE_BITS = centred(16, -16.0, -15.7, -16.3, -15.4, -15.1, -16.7)
SIX_BITS = centred(32, -33.2, -32.9, -32.6, -32.3, -32.0, -31.7, -31.4, -31.1, -30.8, -30.5, -30.2, -29.9)


@dataclass(frozen=True)
class AffineForm:
    """Codes 0 .. `most` in groups of `width`, whose scales and minimums are 0 .. `reach` steps."""

    width: int
    most: int
    reach: int
    steps: tuple[float, ...]


NON_LINEAR = Form(nearest_level, (-127.0, 113.0, -120.0, -134.0, 106.0, 120.0))
Q2_K = AffineForm(16, 3, 15, TWO_BIT_STEPS)
Q4_K = AffineForm(32, 15, 63, STEPS)
Q5_K = AffineForm(32, 31, 63, STEPS)


def side_by_side(blocks: F32, width: int) -> F32:
    """Blocks [n, weights] as their groups [width, groups]."""
    return np.ascontiguousarray(blocks.reshape(-1, width).T)


def in_blocks(codes: F32, size: int) -> Bytes:
    """Codes [width, groups] as uint8 [blocks, size]."""
    return np.ascontiguousarray(codes.T).astype(np.uint8).reshape(-1, size)


def joined(*parts: Bytes) -> Bytes:
    return np.concatenate(parts, axis=1)


def q8_0(x: F32, _weights: F32) -> Bytes:
    x = side_by_side(x, 32)
    scale = half(np.abs(x).max(axis=0) / np.float32(127))
    codes = rounded(x * inverse(scale), -127, 127).astype(np.int8)
    return joined(layout.halves(scale), np.ascontiguousarray(codes.T).view(np.uint8))


def q4_0(x: F32, weights: F32) -> Bytes:
    scale, codes = _scaled(x, weights, FOUR_BITS)
    return joined(layout.halves(scale), layout.nibbles(codes, 16))


def q5_0(x: F32, weights: F32) -> Bytes:
    scale, codes = _scaled(x, weights, FIVE_BITS)
    return joined(layout.halves(scale), layout.fifth_bits(codes), layout.nibbles(codes, 16))


def iq4_nl(x: F32, weights: F32) -> Bytes:
    scale, codes = _scaled(x, weights, NON_LINEAR)
    return joined(layout.halves(scale), layout.nibbles(codes, 16))


def _scaled(x: F32, weights: F32, form: Form) -> tuple[F32, Bytes]:
    """Groups of 32 that are blocks of their own."""
    x, weights = side_by_side(x, 32), side_by_side(weights, 32)
    scale = half(scales(x, weights, form.encode, form.targets))
    return scale, in_blocks(_stored(form.encode(x * inverse(scale)), form), 32)


def _stored(codes: F32, form: Form) -> F32:
    if form is NON_LINEAR:
        return np.searchsorted(LEVELS, codes).astype(np.float32)
    return codes + np.float32(form.zero)


def q4_1(x: F32, weights: F32) -> Bytes:
    scale, offset, codes = _affine(x, weights, 15)
    return joined(layout.halves(scale), layout.halves(offset), layout.nibbles(codes, 16))


def q5_1(x: F32, weights: F32) -> Bytes:
    scale, offset, codes = _affine(x, weights, 31)
    high, low = layout.fifth_bits(codes), layout.nibbles(codes, 16)
    return joined(layout.halves(scale), layout.halves(offset), high, low)


def _affine(x: F32, weights: F32, most: int) -> tuple[F32, F32, Bytes]:
    x, weights = side_by_side(x, 32), side_by_side(weights, 32)
    scale, offset = (half(found) for found in Affine(x, weights, most, below_zero=False).search(FEW_STEPS))
    return scale, offset, in_blocks(rounded((x - offset) * inverse(scale), 0, most), 32)


def q3_k(x: F32, weights: F32) -> Bytes:
    step, scale, codes = _scaled_k(x, weights, 16, THREE_BITS, 32)
    high = layout.bits(codes, 2)
    return joined(
        high, layout.crumbs(codes), layout.six_bits((scale + 32).astype(np.uint8)), layout.halves(step)
    )


def q6_k(x: F32, weights: F32) -> Bytes:
    step, scale, codes = _scaled_k(x, weights, 16, SIX_BITS, 128)
    low, high = layout.nibbles(codes, 64), layout.crumbs(codes >> np.uint8(4))
    return joined(low, high, scale.astype(np.int8).view(np.uint8), layout.halves(step))


def iq4_xs(x: F32, weights: F32) -> Bytes:
    step, scale, codes = _scaled_k(x, weights, 32, NON_LINEAR, 32)
    six = (scale + 32).astype(np.uint8)
    return joined(
        layout.halves(step), layout.upper_bits(six), layout.lower_bits(six), layout.nibbles(codes, 16)
    )


def _scaled_k(x: F32, weights: F32, width: int, form: Form, reach: int) -> tuple[F32, F32, Bytes]:
    """Groups whose scales are -reach .. reach - 1 steps: steps [blocks], scales [blocks, groups], codes."""
    per_block = BLOCK // width
    x, weights = side_by_side(x, width), side_by_side(weights, width)
    exact = scales(x, weights, form.encode, form.targets)
    step = half_up(extreme(exact.reshape(-1, per_block).T) / np.float32(-reach))
    steps = np.repeat(step, per_block)
    scale = rounded(exact * inverse(steps), -reach, reach - 1)
    # A rounded scale has other codes, and these another best scale.
    codes = form.encode(x * inverse(steps * scale))
    scale = rounded(refitted(x, weights, codes) * inverse(steps), -reach, reach - 1)
    codes = form.encode(x * inverse(steps * scale))
    return step, scale.reshape(-1, per_block), in_blocks(_stored(codes, form), BLOCK)


def q2_k(x: F32, weights: F32) -> Bytes:
    found = _affine_k(x, weights, Q2_K)
    halves = layout.halves(found.step), layout.halves(found.fall)
    return joined(layout.above(found.scales, found.minimums), layout.crumbs(found.codes), *halves)


def q4_k(x: F32, weights: F32) -> Bytes:
    found = _affine_k(x, weights, Q4_K)
    return joined(*_head(found), layout.nibbles(found.codes, 32))


def q5_k(x: F32, weights: F32) -> Bytes:
    found = _affine_k(x, weights, Q5_K)
    return joined(*_head(found), layout.bits(found.codes, 4), layout.nibbles(found.codes, 32))


@dataclass(frozen=True)
class Minimums:
    """A block of a K type with offsets: weight = step * scale * code - fall * minimum."""

    step: F32
    fall: F32
    scales: Bytes
    minimums: Bytes
    codes: Bytes


def _head(found: Minimums) -> tuple[Bytes, Bytes, Bytes]:
    pairs = layout.six_bit_pairs(found.scales, found.minimums)
    return layout.halves(found.step), layout.halves(found.fall), pairs


def _affine_k(x: F32, weights: F32, form: AffineForm) -> Minimums:
    per_block = BLOCK // form.width
    x, weights = side_by_side(x, form.width), side_by_side(weights, form.width)
    exact, offset = Affine(x, weights, form.most, below_zero=True).search(form.steps)
    step, fall = _step(exact, per_block, form.reach), _step(-offset, per_block, form.reach)
    steps, falls = np.repeat(step, per_block), np.repeat(fall, per_block)
    per_step, per_fall, weight = inverse(steps), inverse(falls), total(weights)

    def encode() -> F32:
        return rounded((x + falls * minimum) * inverse(steps * scale), 0, form.most)

    scale = rounded(exact * per_step, 0, form.reach)
    minimum = rounded(-offset * per_fall, 0, form.reach)
    # Rounding moved both: with the codes that follow, first the best minimums, then the best scales.
    excess = total(weights * (steps * scale * encode() - x))
    minimum = rounded(divided(excess, weight) * per_fall, 0, form.reach)
    scale = rounded(refitted(x + falls * minimum, weights, encode()) * per_step, 0, form.reach)
    in_bytes = in_blocks(scale[None], per_block), in_blocks(minimum[None], per_block)
    return Minimums(step, fall, *in_bytes, in_blocks(encode(), BLOCK))


def _step(values: F32, per_block: int, reach: int) -> F32:
    """Steps [blocks] of which the largest value of a block is `reach`."""
    largest = np.maximum(values.reshape(-1, per_block).max(axis=1), np.float32(0))
    return half_up(largest / np.float32(reach))
