"""Tiny models in memory and a way to run them: what the tests of this folder share.

Weights come from a seed through `RandomState`, whose streams NumPy promises never to change, so a
golden file needs only the seed.
"""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fairway.formats.bundle import Bundle, GenerationDefaults, TensorInfo
from fairway.kernels.program import Limits, Step
from fairway.models.loader import Model
from fairway.tensors import F32, DenseTensor, WeightTensor

GOLDENS = Path(__file__).parent / "goldens"


def tiny_weight(name: str, shape: tuple[int, ...], seed: int, *, around_one: bool) -> F32:
    """Uniform values: norms around one (or zero, as Gemma stores them), matrices of unit gain."""
    random = np.random.RandomState((zlib.crc32(name.encode()) + seed) % 2**32)
    values = random.uniform(-1, 1, shape)
    if name.endswith("bias"):
        values *= 0.1
    elif len(shape) == 1:
        values = values * 0.5 + (1.0 if around_one else 0.0)
    elif "embed" in name or "wte" in name or "wpe" in name:
        values *= 0.3 if around_one else 0.1  # Gemma multiplies by the square root of the width
    else:
        values *= 1.5 * (3 / max(shape)) ** 0.5
    return values.astype(np.float32)


def tiny_weights(shapes: dict[str, tuple[int, ...]], seed: int, model_type: str) -> dict[str, F32]:
    around_one = not model_type.startswith("gemma")
    return {n: tiny_weight(n, tuple(s), seed, around_one=around_one) for n, s in shapes.items()}


class MemoryTensors:
    """`Tensors` over arrays or ready weight tensors; remembers what was read."""

    def __init__(self, tensors: dict[str, F32 | WeightTensor]) -> None:
        self.tensors = {
            name: DenseTensor("f32", value) if isinstance(value, np.ndarray) else value
            for name, value in tensors.items()
        }
        self.infos = {n: TensorInfo(n, "F32", t.shape, t.values.nbytes) for n, t in self.tensors.items()}
        self.read_names: list[str] = []

    def read(self, name: str) -> WeightTensor:
        self.read_names.append(name)
        return self.tensors[name]


def memory_bundle(config: dict, tensors: dict[str, F32 | WeightTensor], **changes) -> Bundle:
    values = {
        "name": "tiny",
        "path": Path("tiny"),
        "container": "huggingface",
        "config": config,
        "tensors": MemoryTensors(tensors),
        "tokenizer": None,
        "chat_template": None,
        "generation": GenerationDefaults(),
        "end_of_text_ids": (),
    }
    return Bundle(**{**values, **changes})


@dataclass(frozen=True)
class Golden:
    """What transformers answered for one case."""

    name: str
    config: dict
    saved_config: dict
    context: int | None
    seed: int
    shapes: dict[str, tuple[int, ...]]
    num_parameters: int
    tokens: list[int]
    num_prompt: int
    greedy: bool
    logits: F32

    @property
    def weights(self) -> dict[str, F32]:
        return tiny_weights(self.shapes, self.seed, self.config["model_type"])

    @property
    def bundle(self) -> Bundle:
        return memory_bundle(self.config, self.weights)


def golden(name: str) -> Golden:
    record = json.loads((GOLDENS / f"{name}.json").read_text("utf-8"))
    record["shapes"] = {key: tuple(shape) for key, shape in record["shapes"].items()}
    with np.load(GOLDENS / f"{name}.npz") as arrays:
        return Golden(name=name, **record, logits=arrays["logits"])


class Session:
    """One sequence on a compiled model, blocks handed out in reverse so that order cannot matter."""

    def __init__(self, model: Model, *, block_size: int = 16, cache_type: str = "f32") -> None:
        num_blocks = -(-model.max_context // block_size)
        shape = model.cache_shape(num_blocks, block_size, type=cache_type)
        limits = Limits(max_tokens=256, max_sequences=1, max_outputs=256)
        self.executable = model.compile(shape, limits)
        self.table = np.arange(num_blocks, dtype=np.int32)[::-1].copy()[None]
        self.position = 0

    def feed(self, tokens: list[int]) -> F32:
        """Logits after each of the tokens, [len(tokens), vocabulary]."""
        count = len(tokens)
        step = Step(
            token_ids=np.array(tokens, np.int32),
            positions=np.arange(self.position, self.position + count, dtype=np.int32),
            starts=np.array([0, count], np.int32),
            block_tables=self.table,
            output_rows=np.arange(count, dtype=np.int32),
        )
        self.position += count
        return np.array(self.executable.run(step))

    def greedy(self, prompt: list[int], num_tokens: int, chunk: int = 7) -> list[int]:
        """The prompt in chunks, then one token at a time, until there are `num_tokens` in all."""
        for start in range(0, len(prompt), chunk):
            logits = self.feed(prompt[start : start + chunk])
        tokens = [*prompt, int(logits[-1].argmax())]
        while len(tokens) < num_tokens:
            tokens.append(int(self.feed(tokens[-1:])[-1].argmax()))
        return tokens
