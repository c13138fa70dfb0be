"""A model of any shape with random weights, in memory: for benchmarks and for trying a size.

Each tensor is made when it is read, from the seed and its name, so nothing is held that is not
being packed. The values keep activations finite; the text is noise.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from fairway.errors import FormatError
from fairway.formats.bundle import Bundle, GenerationDefaults, TensorInfo
from fairway.models.conversion import to_bf16
from fairway.models.families import read_config
from fairway.models.sizes import Expected, expected_tensors
from fairway.tensors import Array, DenseTensor, GroupedTensor, WeightTensor

RandomType: TypeAlias = Literal["f32", "f16", "bf16", "int8", "int4"]

QWEN2_5_0_5B: Mapping[str, Any] = {
    "model_type": "qwen2",
    "vocab_size": 151_936,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32_768,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1_000_000.0,
    "tie_word_embeddings": True,
}
"""The shape of Qwen2.5-0.5B, on which the benchmarks run."""

ELEMENTS = {"f32": np.float32, "f16": np.float16, "bf16": np.uint16}
GROUP = 32
ROWS_AT_ONCE = 256
ELEMENT_BYTES = {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "int8": 1.125, "int4": 0.625}


class RandomTensors:
    """`Tensors` whose values are drawn on demand; the same name gives the same values."""

    def __init__(self, expected: Mapping[str, Expected], type: RandomType, seed: int) -> None:
        self._expected = expected
        self._type = type
        self._seed = seed
        self.infos = {name: self._info(name, tensor) for name, tensor in expected.items()}

    def read(self, name: str) -> WeightTensor:
        if name not in self._expected:
            raise FormatError(f"The random model has no tensor {name}.")
        expected = self._expected[name]
        random = np.random.default_rng([self._seed, zlib.crc32(name.encode())])
        kind = _stored_type(expected, self._type)
        if kind in ("int8", "int4"):
            return _random_groups(random, expected.shape, 8 if kind == "int8" else 4)
        return DenseTensor(kind, _random_floats(random, expected.shape, kind))

    def _info(self, name: str, tensor: Expected) -> TensorInfo:
        kind = _stored_type(tensor, self._type)
        return TensorInfo(name, kind.upper(), tensor.shape, int(tensor.num_elements * ELEMENT_BYTES[kind]))


def _random_floats(random: np.random.Generator, shape: tuple[int, ...], kind: str) -> Array:
    """Norms near one; matrices uniform with a gain near one; some rows at a time."""
    gain = 0.1 if len(shape) == 1 else (3 / shape[-1]) ** 0.5
    offset = 1.0 if len(shape) == 1 else 0.0
    result = np.empty(shape, ELEMENTS[kind])
    for start in range(0, shape[0], ROWS_AT_ONCE):
        part = result[start : start + ROWS_AT_ONCE]
        values = random.random(part.shape, np.float32)
        values = (values * np.float32(2) - np.float32(1)) * np.float32(gain) + np.float32(offset)
        part[:] = to_bf16(values) if kind == "bf16" else values
    return result


def _random_groups(random: np.random.Generator, shape: tuple[int, ...], bits: int) -> GroupedTensor:
    """Uniform codes with the scale that gives them the spread of `_random_floats`."""
    rows, columns = shape
    largest = 127 if bits == 8 else 7
    scale = np.float32((3 / columns) ** 0.5 / largest)
    scales = np.full((rows, -(-columns // GROUP)), scale, np.float32)
    if bits == 8:
        return GroupedTensor(8, GROUP, random.integers(-127, 128, shape, np.int8), scales)
    return GroupedTensor(4, GROUP, random.integers(1, 16, shape, np.uint8), scales, zero=8)


def _stored_type(tensor: Expected, type: RandomType) -> RandomType:
    """Vectors and position tables stay float32, as in quantised checkpoints."""
    return "f32" if tensor.role == "float" else type


def random_bundle(config: Mapping[str, Any], type: RandomType = "bf16", seed: int = 0) -> Bundle:
    """A bundle of the shape that a config.json describes, without a file and without a tokenizer."""
    decoder = read_config(config)
    return Bundle(
        name=f"random-{decoder.model_type}",
        path=Path("random"),
        container="huggingface",
        config=config,
        tensors=RandomTensors(expected_tensors(decoder), type, seed),
        tokenizer=None,
        chat_template=None,
        generation=GenerationDefaults(),
        end_of_text_ids=(),
    )
