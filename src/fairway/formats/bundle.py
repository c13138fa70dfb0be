"""A bundle: the thing that travels. Weights never travel without what makes them speak.

Reading one touches headers and sidecar files only; tensor bytes are mapped and read on demand.
Whatever the container (Hugging Face folder, safetensors file, GGUF file), the config and the
tensor names inside a bundle are spelled as Hugging Face's `config.json` and state dict spell them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from fairway.formats.lineage import Lineage
from fairway.formats.pooling import Pooling
from fairway.formats.source import Source
from fairway.tensors import WeightTensor


@dataclass(frozen=True)
class TensorInfo:
    """One tensor as its container's header describes it."""

    name: str
    type: str
    """The stored type as its format spells it, upper case: "F32", "BF16", "Q4_K", ..."""
    shape: tuple[int, ...]
    """Row-major, outermost first: a linear layer is (out_features, in_features), GGUF included; only
    GPT-2's matrices are (in_features, out_features), as in its state dict."""
    num_bytes: int

    @property
    def num_elements(self) -> int:
        count = 1
        for size in self.shape:
            count *= size
        return count


class Tensors(Protocol):
    """The weights of a bundle, by Hugging Face name."""

    @property
    def infos(self) -> Mapping[str, TensorInfo]: ...

    def read(self, name: str) -> WeightTensor:
        """One tensor, exactly as stored: floats as `DenseTensor`, quantised types as `GroupedTensor`.

        What a GGUF file stores differently comes back as Hugging Face has it: the row order of llama's
        q and k, gemma's norm weights, GPT-2's matrices (its quantised ones as float32). Raises
        `FormatError` when the bytes are broken, `UnsupportedError` for a type that cannot be run.
        """
        ...


@runtime_checkable
class StoredTensors(Tensors, Protocol):
    """Tensors whose stored bytes can be had, of whatever type."""

    def stored(self, name: str) -> npt.NDArray[np.uint8]:
        """The bytes of one tensor, uint8 [num_bytes], rows in Hugging Face's order; a view where possible."""
        ...


class FileTensors(StoredTensors, Protocol):
    """Tensors that lie in files."""

    @property
    def sources(self) -> tuple[Source, ...]: ...


@runtime_checkable
class SlicedTensors(Tensors, Protocol):
    """Tensors that are unpacked on reading, and can be so a few rows at a time."""

    def read_slices(self, name: str, num_rows: int) -> Iterator[WeightTensor]:
        """What `read` gives, in slices of at most `num_rows` rows where that saves memory."""
        ...

    def read_turned(self, name: str) -> WeightTensor:
        """The transpose of what `read` gives, without loss where the file holds it so."""
        ...


@dataclass(frozen=True)
class TokenizerSource:
    """What a tokenizer is built from; `text.tokenizer.load` reads it."""

    kind: Literal["huggingface", "gguf"]
    files: Mapping[str, Path] = field(default_factory=dict)
    """huggingface: file name -> path, for those present of tokenizer.json, tokenizer_config.json,
    special_tokens_map.json, added_tokens.json, vocab.json, merges.txt, vocab.txt, tokenizer.model."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """gguf: every `tokenizer.*` key."""


@dataclass(frozen=True)
class GenerationDefaults:
    """What the model's authors recommend; None means not stated."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    max_tokens: int | None = None


@dataclass(frozen=True)
class Preset:
    """What a Modelfile puts around a model; None and () mean not stated."""

    system: str | None = None
    """Told to the model before a conversation that brings no system message of its own."""
    messages: tuple[tuple[str, str], ...] = ()
    """(role, content), before every conversation."""
    stop: tuple[str, ...] = ()
    """Each ends an answer, beside the stop strings of the request."""
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    context: int | None = None
    """In tokens; a flag overrides it."""
    adapters: tuple[Path, ...] = ()
    """LoRA files to be merged before the model is run."""
    ollama_template: str | None = None
    """TEMPLATE as it was written; `Bundle.chat_template` is the same in Jinja."""
    requires: str | None = None
    """The version of Ollama that the Modelfile asks for."""


Container: TypeAlias = Literal[
    "huggingface",
    "safetensors",
    "torch",
    "gguf",
    "nemo",
    "onnx",
    "onnx graph",
    "keras",
    "skops",
    "torchscript",
]
"""How the weights lie. "onnx" is a language model's folder, "onnx graph" a file that may compute anything."""
ONNX_GRAPH: Final = "onnx graph"


@dataclass(frozen=True)
class Bundle:
    """A model with everything it needs to answer."""

    name: str
    path: Path
    container: Container
    config: Mapping[str, Any]
    tensors: Tensors
    tokenizer: TokenizerSource | None
    chat_template: str | None
    generation: GenerationDefaults
    end_of_text_ids: tuple[int, ...]
    """Every id that ends an answer, gathered from config, generation_config, tokenizer and template."""
    licence: str | None = None
    sources: tuple[Source, ...] = ()
    """The files that hold the tensors; none where they are made in memory."""
    preset: Preset | None = None
    """What a Modelfile adds to the model that it names."""
    pooling: Pooling | None = None
    """Of an embedding model: how its tokens' vectors become one."""
    lineage: Lineage | None = None
    """What it was made from, where that was written down."""
    warnings: tuple[str, ...] = ()
    """What was odd but survivable, for `inspect` to show (pickle files beside the weights, ...)."""

    @property
    def config_name(self) -> str:
        """What an error calls the source of `config`."""
        return "GGUF metadata" if self.container == "gguf" else "config.json"
