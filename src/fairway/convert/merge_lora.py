"""A model with a LoRA adapter merged into it, as a bundle whose tensors are made when they are read.

    weight + scale * (B @ A), computed in float32 and rounded once to the stored type; of a DoRA, each row
    of that brought to its magnitude before

So any hop converts it like another model, one tensor at a time. Rule: rounded weights are not rounded
again unasked; merging into a quantised model is what ruins adapters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fairway import __version__
from fairway.convert.combine_adapters import Combination, combined
from fairway.convert.encode import encode
from fairway.errors import FormatError, UnsupportedError
from fairway.formats.bundle import Bundle, TensorInfo, Tensors
from fairway.formats.floats import FLOATS, dense_tensor, floats
from fairway.formats.lineage import Lineage, Origin, Step, now, read_lineage
from fairway.formats.lora import Adapter, LoraLayer
from fairway.formats.lora_open import open_adapter
from fairway.formats.lora_peft import CONFIG
from fairway.formats.quantized_folder import method_of
from fairway.models.conversion import floats_of
from fairway.tensors import F32, DenseTensor, WeightTensor

TURNED_LAYERS = "transformer.h."
"""GPT-2 keeps its matrices [in, out]; all others are [out, in]."""
ELEMENT_BYTES = {"F32": 4, "F16": 2, "BF16": 2}


def merged(
    base: Bundle, adapter: Adapter, *, stored_type: str | None = None, allow_quantised: bool = False
) -> Bundle:
    """The base with the adapter inside.

    `stored_type` "F32", "F16" or "BF16" is the type of the changed tensors; None keeps the base's. Raises
    `UnsupportedError` for a quantised base unless `allow_quantised`, which makes the changed tensors F16,
    and `FormatError` for an adapter of another model.
    """
    if adapter.replaced:
        _check_replaced(base, adapter)
    tensors = MergedTensors(base, adapter, stored_type, allow_quantised)
    lineage = lineage_of(base, [(adapter, 1.0)], None)
    return replace(base, tensors=tensors, sources=(*base.sources, *adapter.sources), lineage=lineage)


def with_adapters(
    bundle: Bundle,
    more: Sequence[tuple[Path, float]] = (),
    stored_type: str | None = None,
    *,
    combination: Combination = "cat",
    allow_quantised: bool = False,
) -> Bundle:
    """The model with the adapters that its Modelfile names, and `more` by their weights, rounded once.

    As it is where there are none.
    """
    preset = bundle.preset
    wanted = [*((path, 1.0) for path in (preset.adapters if preset else ())), *more]
    if wanted:
        adapters = [(open_adapter(path, bundle.config), weight) for path, weight in wanted]
        lineage = lineage_of(bundle, adapters, combination if len(adapters) > 1 else None)
        one = combined(adapters, combination)
        bundle = merged(bundle, one, stored_type=stored_type, allow_quantised=allow_quantised)
        bundle = replace(bundle, lineage=lineage)
    return bundle if preset is None else replace(bundle, preset=replace(preset, adapters=()))


def lineage_of(
    base: Bundle, adapters: Sequence[tuple[Adapter, float]], combination: Combination | None
) -> Lineage:
    """The base's own steps, those that made the adapters, and this one."""
    steps = (base.lineage or Lineage()).steps
    for adapter, _ in adapters:
        steps = (*steps, *(step for step in adapter_steps(adapter) if step not in steps))
    settings: dict[str, Any] = {"layers": len({name for adapter, _ in adapters for name in adapter.layers})}
    if combination is not None or any(weight != 1 for _, weight in adapters):
        settings |= {"weights": [weight for _, weight in adapters], "combination": combination or "cat"}
    origins = tuple(Origin(adapter.name, "adapter", _digest(adapter)) for adapter, _ in adapters)
    step = Step("merge adapter", origins, settings, {"fairway": __version__}, now())
    return Lineage(None, Lineage(None, steps).then(step))


def adapter_steps(adapter: Adapter) -> tuple[Step, ...]:
    """What is written beside its files: base, data and recipe, where it was trained here."""
    folders = dict.fromkeys(source.path.parent for source in adapter.sources if source.path.name == CONFIG)
    found = [read_lineage(folder) for folder in folders]
    return tuple(step for lineage in found if lineage is not None for step in lineage.steps)


def _digest(adapter: Adapter) -> str:
    digest = hashlib.sha256(b"".join(hashlib.sha256(each.data).digest() for each in adapter.sources))
    return f"sha256:{digest.hexdigest()}"


class MergedTensors:
    """`Tensors` of the base, with the adapter's layers added on reading."""

    def __init__(
        self, base: Bundle, adapter: Adapter, stored_type: str | None, allow_quantised: bool
    ) -> None:
        self.base: Tensors = base.tensors
        self._layers = {f"{name}.weight": layer for name, layer in adapter.layers.items()}
        self._replaced = adapter.replaced
        infos = dict(base.tensors.infos)
        for name, layer in self._layers.items():
            infos[name] = _merged_info(base, adapter, name, layer, (stored_type, allow_quantised))
        self.infos: Mapping[str, TensorInfo] = infos

    @property
    def changed(self) -> frozenset[str]:
        """The tensors that are not the base's."""
        return frozenset((*self._layers, *self._replaced))

    def read(self, name: str) -> WeightTensor:
        if name in self._layers:
            return self._merged(name, self._layers[name])
        if name in self._replaced:
            return _stored(floats(self._replaced[name]), self.infos[name].type, name)
        return self.base.read(name)

    def _merged(self, name: str, layer: LoraLayer) -> DenseTensor:
        weight = floats_of(self.base.read(name))
        is_turned = name.startswith(TURNED_LAYERS)
        weight += delta(layer, is_turned=is_turned)
        if layer.magnitude is not None:
            weight *= _stretch(weight, floats(layer.magnitude), is_turned)
        return _stored(weight, self.infos[name].type, name)


def delta(layer: LoraLayer, *, is_turned: bool = False) -> F32:
    """scale * (B @ A), float32 [out, in], or its transpose."""
    product = floats(layer.b) @ floats(layer.a)
    return (product.T if is_turned else product) * np.float32(layer.scale)


def _stretch(weight: F32, magnitude: F32, is_turned: bool) -> F32:
    """What brings each output's weights to their magnitude, [out, 1] or [1, out]."""
    lengths = np.linalg.norm(weight, axis=0 if is_turned else 1)
    factors: F32 = (magnitude / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32)
    return factors[None, :] if is_turned else factors[:, None]


def _merged_info(
    base: Bundle, adapter: Adapter, name: str, layer: LoraLayer, wanted: tuple[str | None, bool]
) -> TensorInfo:
    info = base.tensors.infos.get(name)
    if info is None:
        raise FormatError(
            f"The adapter {adapter.name} changes {name[:120]}, which is not in {base.path}.",
            hint=_other(adapter),
        )
    shape = (layer.b.shape[0], layer.a.shape[1])
    if info.shape != (shape[::-1] if name.startswith(TURNED_LAYERS) else shape):
        raise FormatError(
            f"The adapter {adapter.name} changes {name[:120]} as {list(shape)}, and {base.path} has "
            f"{list(info.shape)}.",
            hint=_other(adapter),
        )
    kind = _merged_type(base, info, *wanted)
    return TensorInfo(name, kind, info.shape, info.num_elements * ELEMENT_BYTES[kind])


def _merged_type(base: Bundle, info: TensorInfo, stored_type: str | None, allow_quantised: bool) -> str:
    is_quantised = info.type not in FLOATS or method_of(base.config) is not None
    if is_quantised and not allow_quantised:
        raise UnsupportedError(
            f"{base.path} is quantised ({info.type}), and an adapter is lost in rounded weights.",
            hint="Merge into the original 16-bit model, or into what these weights mean: fairway convert "
            "MODEL --adapter ADAPTER --to safetensors.",
        )
    return stored_type or (info.type if info.type in FLOATS else "F16")


def _check_replaced(base: Bundle, adapter: Adapter) -> None:
    for name, tensor in adapter.replaced.items():
        info = base.tensors.infos.get(name)
        if info is None or info.shape != tensor.shape or info.type not in FLOATS:
            found = "nothing" if info is None else f"{info.type} {list(info.shape)}"
            raise FormatError(
                f"The adapter {adapter.name} replaces {name[:120]} by {list(tensor.shape)}, {base.path} "
                f"has {found}.",
                hint="If it brings tokens of its own, resize the model's embeddings first. "
                + _other(adapter),
            )


def _other(adapter: Adapter) -> str:
    return f"It was trained on {adapter.base}." if adapter.base else "Name the model that it was trained on."


def _stored(values: F32, kind: str, name: str) -> DenseTensor:
    """Rounded once; what F16 cannot hold is refused."""
    rows = values.reshape(len(values), -1)
    return dense_tensor(kind, encode(rows, kind, name), values.shape)
