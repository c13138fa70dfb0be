"""The largest logits of each row, natively where there are native kernels: what a sampler starts from.

The rule: equal logits are ordered by token id, lowest first.
"""

from __future__ import annotations

import numpy as np

from fairway.kernels.extension import native, native_isas
from fairway.tensors import F32, I32


def top(logits: F32, count: int) -> tuple[I32, F32]:
    """Ids and values [R, min(count, width)] of the largest logits [R, width], falling."""
    rows, width = logits.shape
    count = min(count, width)
    if count < 1:
        raise ValueError(f"the top {count} of {width} logits do not exist")
    isas = native_isas()
    if not isas:
        order = np.argsort(-logits, axis=1, kind="stable")[:, :count]
        return order.astype(np.int32), np.take_along_axis(logits, order, axis=1)
    ids, values = np.empty((rows, count), np.int32), np.empty((rows, count), np.float32)
    native.top(isas[0], np.ascontiguousarray(logits, np.float32), values, ids)
    return ids, values
