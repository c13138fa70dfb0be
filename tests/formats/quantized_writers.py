"""GPTQ and AWQ checkpoints made weight by weight from the formats' descriptions, and what they mean.

Written apart from the readers, with one loop per nibble, so that a mistake cannot be on both sides.
"""

import numpy as np

AWQ_PLACES = (0, 2, 4, 6, 1, 3, 5, 7)
"""Nibble i of AWQ's words holds output AWQ_PLACES[i]."""


def random_codes(rows, columns, group, bits=4, seed=0):
    """codes [rows, columns], zeros and scales [rows, groups]."""
    numbers = np.random.default_rng(seed)
    groups = -(-columns // group)
    codes = numbers.integers(0, 1 << bits, (rows, columns))
    zeros = numbers.integers(1, 1 << bits, (rows, groups))
    scales = (0.01 + numbers.random((rows, groups)) / 50).astype(np.float16)
    return codes, zeros, scales


def meaning(codes, zeros, scales, group_of):
    """float64 [rows, columns]"""
    return scales[:, group_of].astype(np.float64) * (codes - zeros[:, group_of])


def words(values, places=None):
    """values [n, m], each below 2 ** bits, eight (or four) to an int32 along the last axis."""
    per_word = 8 if places is None else len(places)
    places = places or tuple(range(per_word))
    bits = 32 // per_word
    packed = np.zeros((values.shape[0], values.shape[1] // per_word), np.uint32)
    for word in range(packed.shape[1]):
        for field, place in enumerate(places):
            packed[:, word] |= values[:, word * per_word + place].astype(np.uint32) << np.uint32(bits * field)
    return packed.view(np.int32)


def gptq(name, codes, zeros, scales, group_of, *, first_format=True, bits=4):
    places = tuple(range(32 // bits))
    stored_zeros = (zeros - 1) % (1 << bits) if first_format else zeros
    return {
        f"{name}.qweight": np.ascontiguousarray(words(codes, places).T),
        f"{name}.qzeros": words(stored_zeros.T, places),
        f"{name}.scales": np.ascontiguousarray(scales.T),
        f"{name}.g_idx": group_of.astype(np.int32),
    }


def awq(name, codes, zeros, scales):
    return {
        f"{name}.qweight": words(codes.T, AWQ_PLACES),
        f"{name}.qzeros": words(zeros.T, AWQ_PLACES),
        f"{name}.scales": np.ascontiguousarray(scales.T),
    }
