"""The built-in model, and broken copies of it: what the tests of the proof share."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fairway.formats.bundle import Bundle, TensorInfo, TokenizerSource
from fairway.formats.open import open_bundle
from fairway.models.conversion import floats_of
from fairway.registry.resolve import BUILTIN_FOLDER
from fairway.tensors import F32, DenseTensor, GroupedTensor, WeightTensor

SHARED = Path(__file__).parents[3] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared is absent")


def builtin() -> Bundle:
    return open_bundle(BUILTIN_FOLDER)


class MadeTensors:
    """The tensors of another bundle, some of them exchanged."""

    def __init__(
        self, bundle: Bundle, made: dict[str, WeightTensor], types: dict[str, str], without=()
    ) -> None:
        self._tensors = bundle.tensors
        self._made = made
        self.infos = {n: i for n, i in bundle.tensors.infos.items() if n not in without}
        for name, tensor in made.items():
            kind = types.get(name) or (tensor.type.upper() if isinstance(tensor, DenseTensor) else "INT4")
            self.infos[name] = TensorInfo(name, kind, tensor.shape, tensor.values.nbytes)

    def read(self, name: str) -> WeightTensor:
        return self._made[name] if name in self._made else self._tensors.read(name)


def with_tensors(bundle: Bundle, *, without=(), types=None, **made: WeightTensor) -> Bundle:
    return replace(bundle, tensors=MadeTensors(bundle, made, types or {}, without), sources=())


def edited(bundle: Bundle, name: str, edit: Callable[[F32], F32], *, kind: str | None = None) -> Bundle:
    """One tensor changed; it keeps its stored type's name unless `kind` is given."""
    old = bundle.tensors.infos[name].type
    values = edit(floats_of(bundle.tensors.read(name))).astype(np.float32)
    return with_tensors(bundle, types={name: kind or old}, **{name: DenseTensor("f32", values)})


def with_config(bundle: Bundle, **changes) -> Bundle:
    return replace(bundle, config={**bundle.config, **changes})


def with_tokenizer(bundle: Bundle, folder: Path, edit: Callable[[dict], None]) -> Bundle:
    """A copy of the tokenizer's files with tokenizer.json edited."""
    files = {}
    for name, path in bundle.tokenizer.files.items():
        files[name] = folder / name
        shutil.copy(path, folder / name)
    content = json.loads(files["tokenizer.json"].read_text("utf-8"))
    edit(content)
    files["tokenizer.json"].write_text(json.dumps(content), "utf-8")
    return replace(bundle, tokenizer=TokenizerSource("huggingface", files))


def swap_ids(first: str, second: str) -> Callable[[dict], None]:
    """Exchanges the ids of two pieces."""

    def edit(content: dict) -> None:
        vocabulary = content["model"]["vocab"]
        vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]

    return edit


def grouped(values: F32, bits: int = 4) -> GroupedTensor:
    from fairway.kernels.quantize import quantize_int8, quantize_low

    return quantize_low(values, bits) if bits < 8 else quantize_int8(values)
