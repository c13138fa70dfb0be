"""What builds a TensorRT engine: the exact commands for a source, and the key it is kept under.

Decoders go through TensorRT-LLM's own checkpoint and trtllm-build, ONNX graphs through trtexec. Nothing is
run here. The rule: whatever changes the engine is a part of the key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fairway.errors import SettingsError, UnsupportedError
from fairway.formats.graph import GraphModel

CHECKPOINT = "checkpoint"
ENGINE = "model.engine"
CONVERT = (
    "import sys; from tensorrt_llm.models.automodel import AutoModelForCausalLM as Model; "
    "Model.from_hugging_face(sys.argv[1], dtype=sys.argv[3]).save_checkpoint(sys.argv[2])"
)
"""TensorRT-LLM's own library, whose example scripts differ by family and release."""
PRECISIONS = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
FLAGS = {"F32": (), "F16": ("--fp16",), "BF16": ("--bf16",)}
PARTS = {"tool": "version", "gpu": "GPU", "shapes": "shapes", "precision": "precision", "source": "source"}
"""Parts of a key -> what a user calls them."""


@dataclass(frozen=True)
class EngineSettings:
    """What a user chooses about an engine."""

    precision: str = "F16"
    max_batch: int = 8
    max_context: int = 4096
    """Tokens of a prompt and its answer."""
    sizes: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    """Smallest, usual and largest size of a graph's dimension, by its name."""


@dataclass(frozen=True)
class EngineKey:
    """All that an engine depends on. Two engines with one key are interchangeable."""

    tool: str
    """Name and version: "trtllm-build, TensorRT-LLM 1.0.0, TensorRT 10.11.0"."""
    gpu: str
    """Name and compute capability: "NVIDIA H200, 9.0"."""
    shapes: str
    precision: str
    source: str
    """Digest of the source's files."""

    @property
    def value(self) -> str:
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def differences(self, other: EngineKey) -> list[str]:
        """One phrase for each part in which `other` was built otherwise."""
        mine, theirs = asdict(self), asdict(other)
        changed = [part for part in PARTS if mine[part] != theirs[part]]
        return [f"{PARTS[part]} was {theirs[part]}, is {mine[part]}" for part in changed]


@dataclass(frozen=True)
class EnginePlan:
    """How an engine is made. Commands are argument lists with the folder it is made in left open."""

    tool: str
    """The program that must be on PATH."""
    shapes: str
    steps: tuple[tuple[str, ...], ...]

    def commands(self, folder: Path, python: str) -> list[list[str]]:
        """Ready to run: `{folder}` is where the engine lands, `{python}` runs TensorRT-LLM's library."""
        places = {"{folder}": str(folder), "{python}": python}
        return [[_filled(word, places) for word in step] for step in self.steps]


def _filled(word: str, places: Mapping[str, str]) -> str:
    for name, value in places.items():
        word = word.replace(name, value)
    return word


def decoder_plan(folder: Path, settings: EngineSettings) -> EnginePlan:
    """A Hugging Face folder by way of TensorRT-LLM's checkpoint."""
    sizes = {
        "--max_batch_size": settings.max_batch,
        "--max_input_len": settings.max_context - 1,
        "--max_seq_len": settings.max_context,
    }
    checkpoint = f"{{folder}}/{CHECKPOINT}"
    precision = PRECISIONS[settings.precision]
    build = ["trtllm-build", "--checkpoint_dir", checkpoint, "--output_dir", "{folder}"]
    build += ["--gemm_plugin", "auto"] + [str(each) for pair in sizes.items() for each in pair]
    convert = ("{python}", "-c", CONVERT, str(folder), checkpoint, precision)
    shapes = f"batch up to {settings.max_batch}, {settings.max_context} tokens"
    return EnginePlan("trtllm-build", shapes, (convert, tuple(build)))


def graph_plan(model: GraphModel, settings: EngineSettings) -> EnginePlan:
    """An ONNX file. Raises `SettingsError` for a dimension whose sizes nobody has said."""
    if model.container != "onnx":
        raise UnsupportedError(
            f"{model.path} is {model.container}, and trtexec reads ONNX.",
            hint="Use the ONNX file it came from.",
        )
    known = _usual_sizes(settings) | dict(settings.sizes)
    constant = set(model.tensors.infos)
    inputs = {port.name: port.shape or () for port in model.graph.inputs if port.name not in constant}
    dynamic = {name: shape for name, shape in inputs.items() if any(isinstance(size, str) for size in shape)}
    missing = sorted({str(size) for shape in dynamic.values() for size in shape} - known.keys())
    missing = [name for name in missing if not name.isdigit()]
    if missing:
        raise SettingsError(
            f"{model.path.name} leaves the size of {', '.join(missing)} open.",
            hint=f"Say its smallest, usual and largest: --size {missing[0]}=1:8:64.",
            param="size",
        )
    flags = [
        f"--{which}Shapes={','.join(_shape(name, shape, known, place) for name, shape in dynamic.items())}"
        for place, which in enumerate(("min", "opt", "max"))
        if dynamic
    ]
    build = (
        "trtexec",
        f"--onnx={model.path.resolve()}",
        f"--saveEngine={{folder}}/{ENGINE}",
        "--skipInference",
    )
    return EnginePlan("trtexec", " ".join(flags) or "fixed", ((*build, *FLAGS[settings.precision], *flags),))


def _usual_sizes(settings: EngineSettings) -> dict[str, tuple[int, int, int]]:
    """Of the dimensions that our own graphs and most others name: a step of one token in half a context."""
    past, most = settings.max_context // 2, settings.max_context
    return {
        "batch_size": (1, 1, settings.max_batch),
        "batch": (1, 1, settings.max_batch),
        "sequence_length": (1, 1, most),
        "past_sequence_length": (0, past, most - 1),
        "total_sequence_length": (1, past + 1, most),
    }


def _shape(
    name: str, shape: Sequence[int | str], known: Mapping[str, tuple[int, int, int]], place: int
) -> str:
    return f"{name}:{'x'.join(str(known[size][place] if isinstance(size, str) else size) for size in shape)}"


def parse_size(text: str) -> tuple[str, tuple[int, int, int]]:
    """ "sequence=1:128:512"."""
    name, _, sizes = text.partition("=")
    numbers = sizes.split(":")
    if not name or len(numbers) != 3 or not all(each.isdigit() for each in numbers):
        raise SettingsError(
            f"{text!r} is no range of sizes.", hint="Write it like sequence=1:128:512.", param="size"
        )
    least, usual, most = map(int, numbers)
    if not least <= usual <= most:
        raise SettingsError(f"{text!r} does not rise.", hint="Write smallest:usual:largest.", param="size")
    return name, (least, usual, most)
