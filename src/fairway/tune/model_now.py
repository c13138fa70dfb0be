"""The model as it is at this moment of training, for the engine: its weights, and what is beside them.

The rule: what the engine is given is what the trainer multiplies with, so answers are sampled from the model
that learns from them. A DoRA is merged, for the engine serves none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from fairway.convert.merge_lora import merged
from fairway.formats.bundle import Bundle, TensorInfo
from fairway.formats.lora import Adapter
from fairway.formats.prefix_peft import TENSOR, Prefix
from fairway.kernels.quantize import to_bf16
from fairway.tensors import DenseTensor
from fairway.tune.frozen_base import turned_in
from fairway.tune.frozen_matrix import PiecewiseMatrix
from fairway.tune.job import Job
from fairway.tune.torch_weights import Held

NAME = "now"


class TensorsNow:
    """`Tensors` that reads the trainer's own, by the families' names."""

    def __init__(self, weights: Mapping[str, Held], turned: frozenset[str], kind: str) -> None:
        """`turned`: frozen matrices that are held [out, in] and stored [in, out]. `kind`: "F32" or "BF16"."""
        self._weights, self._turned, self._kind = weights, turned, kind
        self.infos: Mapping[str, TensorInfo] = {name: self._info(name) for name in weights}

    def read(self, name: str) -> DenseTensor:
        held = self._weights[name]
        values = _values(held)
        if self._is_turned(name):
            values = values.T
        floats = values.detach().float().cpu().contiguous().numpy()
        return DenseTensor("f32", floats) if self._kind == "F32" else DenseTensor("bf16", to_bf16(floats))

    def _info(self, name: str) -> TensorInfo:
        shape = tuple(self._weights[name].shape)
        shape = shape[::-1] if self._is_turned(name) else shape
        num_bytes = (4 if self._kind == "F32" else 2) * int(torch.Size(shape).numel())
        return TensorInfo(name, self._kind, shape, num_bytes)

    def _is_turned(self, name: str) -> bool:
        return name in self._turned and not isinstance(self._weights[name], Tensor)


def _values(held: Held) -> Tensor:
    """[rows, columns] of a matrix, however it is held."""
    if isinstance(held, Tensor):
        return held
    if isinstance(held, PiecewiseMatrix):
        return torch.cat([values for _, _, values in held.pieces(torch.float32)])
    return held.product(torch.eye(held.shape[1])).T


def changes_weights(job: Job) -> bool:
    """Whether an update changes what `weights_now` gives."""
    return job.recipe.method == "full" or job.recipe.use_dora


def weights_now(job: Job) -> Bundle:
    """Float32, or bfloat16 of a base in 4 bits; the bundle itself where neither weights nor rows change."""
    if job.recipe.method != "qlora" and not changes_weights(job):
        return job.bundle
    kind = "BF16" if job.recipe.method == "qlora" else "F32"
    turned = turned_in(job.bundle)
    stored = {name for name, each in job.stored.items() if each in turned}
    bundle = replace(job.bundle, tensors=TensorsNow(job.weights, frozenset(stored), kind), sources=())
    if job.lora is None or not job.recipe.use_dora:
        return bundle
    adapter = job.lora.adapter(NAME, None, job.trained)
    return merged(bundle, adapter, stored_type=kind, allow_quantised=True)


def beside_now(job: Job) -> Adapter | Prefix | None:
    """What stands beside these weights; None: nothing, or it is inside them."""
    if job.prefix is not None:
        values = job.trained[TENSOR].detach().float().cpu().numpy()
        return Prefix(NAME, None, job.prefix.shape, DenseTensor("f32", values.copy()))
    if job.lora is None or job.recipe.use_dora:
        return None
    return job.lora.adapter(NAME, None, job.trained)
