"""Two adapters of equal rank and other scales, and the weights by which PEFT combined them."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from fairway.formats.bundle import Bundle
from fairway.formats.lora import Adapter, LoraLayer
from fairway.formats.open import open_bundle
from fairway.tensors import DenseTensor

CASES = {
    "cat": ("cat", (0.7, -0.4)),
    "linear": ("linear", (0.7, 0.5)),
    "linear-minus": ("linear", (0.7, -0.4)),
}
LAYERS = ("self_attn.q_proj", "mlp.down_proj")


def base() -> Bundle:
    path = Path(__file__).parents[1] / "formats" / "data" / "lora" / "base-llama"
    return open_bundle(path, complete=False)


def adapters(bundle: Bundle) -> list[Adapter]:
    numbers = np.random.RandomState(5)
    first = _adapter(bundle, "first", numbers, alpha=6.0)
    second = _adapter(bundle, "second", numbers, alpha=3.0)
    rescaled = {name: replace(layer, uses_rslora=True) for name, layer in second.layers.items()}
    return [first, replace(second, layers=rescaled)]


def _adapter(bundle: Bundle, name: str, numbers: np.random.RandomState, alpha: float) -> Adapter:
    layers = {}
    for key, info in bundle.tensors.infos.items():
        layer = key.removesuffix(".weight")
        if layer.endswith(LAYERS):
            a, b = (numbers.uniform(-1, 1, shape).astype(np.float32)
                    for shape in ((3, info.shape[1]), (info.shape[0], 3)))  # fmt: skip
            layers[layer] = LoraLayer(DenseTensor("f32", a), DenseTensor("f32", b), alpha)
    return Adapter(name, None, layers)
