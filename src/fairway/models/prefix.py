"""A trained prefix against a model: whether its keys and values fit the cache, and as the cache takes them.

Knows shapes only. The rule: a prefix of another model is refused before anything is loaded.
"""

from __future__ import annotations

import numpy as np

from fairway.errors import ContextExceeded, FormatError
from fairway.formats.prefix_peft import Prefix
from fairway.kernels.program import CachedTokens, CacheShape
from fairway.kernels.reference_ops import to_float32


def prefix_tokens(prefix: Prefix, cache: CacheShape, max_context: int) -> CachedTokens:
    """The prefix in the order of the cache's layers.

    Raises `FormatError` for a prefix of another model or without numbers, `ContextExceeded` for one that
    leaves no room.
    """
    count, width = prefix.shape.num_virtual_tokens, cache.num_kv_heads * cache.head_size
    if (prefix.shape.num_layers, prefix.shape.width) != (cache.num_layers, width):
        raise FormatError(
            f"The prefix {prefix.name} has {prefix.shape.num_layers} layers of {prefix.shape.width} floats; "
            f"this model caches {cache.num_layers} of {width}.",
            hint=f"It was trained on {prefix.base}." if prefix.base else "Name the model it was trained on.",
        )
    if count >= max_context:
        raise ContextExceeded(
            f"The prefix {prefix.name} has {count} virtual tokens; the context holds {max_context}, "
            "prompt and answer included.",
            hint="Start with a larger --context.",
        )
    values = to_float32(prefix.values)
    if not np.isfinite(values).all():
        raise FormatError(
            f"The prefix {prefix.name} holds numbers that are not finite.", hint="Train it again."
        )
    both = values.reshape(count, cache.num_layers, 2, width).transpose(2, 1, 0, 3)
    return CachedTokens(np.ascontiguousarray(both[0]), np.ascontiguousarray(both[1]))
