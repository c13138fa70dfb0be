"""Matrices that bitsandbytes rounded for the goldens: odd sizes, an empty block, one large value."""

import numpy as np

SHAPES = {"square": (64, 64), "odd columns": (130, 21), "many blocks": (700, 64)}


def matrix(name: str) -> np.ndarray:
    rows, columns = SHAPES[name]
    values = np.random.RandomState(len(name)).randn(rows, columns).astype(np.float32) * np.float32(0.03)
    values.reshape(-1)[64:128] = 0
    values[0, 0] = 3
    return values
