"""LoRA adapters of random numbers, for any model."""

import numpy as np

from fairway.formats.lora import Adapter, LoraLayer
from fairway.tensors import DenseTensor


def random_adapter(base) -> Adapter:
    """On every linear layer inside the blocks, strong enough to change what is said."""
    numbers = np.random.default_rng(0)
    layers = {}
    for name, info in base.tensors.infos.items():
        if len(info.shape) == 2 and (".layers." in name or ".h." in name):
            shape = info.shape[::-1] if ".h." in name else info.shape
            a, b = (
                numbers.standard_normal(size).astype(np.float32) for size in ((4, shape[1]), (shape[0], 4))
            )
            layers[name.removesuffix(".weight")] = LoraLayer(
                DenseTensor("f32", a), DenseTensor("f32", b / 20), 8.0
            )
    return Adapter("random", None, layers)
