"""Encoders: models that read a whole text at once and answer with vectors or classes (BERT and its kin).

A table of families: how each spells its tensors and settings. Knows no graph and no runtime. The rule:
an encoder with a part that is not named here is refused, never carried over without it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from fairway.errors import FormatError, UnsupportedError
from fairway.formats.bundle import Bundle, TensorInfo
from fairway.kernels.program import Activation
from fairway.models.config import MOST_HEADS, MOST_LAYERS, read_activation
from fairway.models.fields import Fields
from fairway.tensors import Array

Head = Literal["states", "text", "tokens"]
"""What comes out: hidden states, classes of a text, or classes of every token."""
HEADS: Mapping[str, Head] = {
    "Model": "states",
    "ForMaskedLM": "states",
    "ForPreTraining": "states",
    "ForSequenceClassification": "text",
    "ForTokenClassification": "tokens",
}
"""Ending of an architecture's name -> what is made of it; the guess of hidden words is left out."""
MAX_POSITIONS = 1 << 20


@dataclass(frozen=True)
class LayerNames:
    """One layer's tensors without `.weight` and `.bias`, below the layer's own name."""

    query: str
    key: str
    value: str
    out: str
    attention_norm: str
    up: str
    down: str
    output_norm: str


@dataclass(frozen=True)
class EncoderFamily:
    """How one family spells itself. Tensors lie below `prefix` or have none; a head's never do."""

    prefix: str
    layer: str
    names: LayerNames
    width: str = "hidden_size"
    layers: str = "num_hidden_layers"
    heads: str = "num_attention_heads"
    inner: str = "intermediate_size"
    activation: str = "hidden_act"
    eps: float | None = None
    """The norms', where no setting says it."""
    has_types: bool = True
    counts_from_padding: bool = False
    """Positions are those of real tokens, and begin after the padding's own."""
    relative: str = ""
    """The table of what a distance adds to a score; "" for a family without one."""
    dense: str = "classifier.dense"
    dense_activation: Literal["tanh", "relu"] = "tanh"
    classes: str = "classifier.out_proj"
    """The two layers that make classes of a text."""


BERT_LAYER = LayerNames(
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
)
DISTILBERT_LAYER = LayerNames(
    "attention.q_lin",
    "attention.k_lin",
    "attention.v_lin",
    "attention.out_lin",
    "sa_layer_norm",
    "ffn.lin1",
    "ffn.lin2",
    "output_layer_norm",
)
MPNET_LAYER = LayerNames(
    "attention.attn.q",
    "attention.attn.k",
    "attention.attn.v",
    "attention.attn.o",
    "attention.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
)
BERT = EncoderFamily("bert.", "encoder.layer", BERT_LAYER, dense="pooler.dense", classes="classifier")
ROBERTA = EncoderFamily("roberta.", "encoder.layer", BERT_LAYER, counts_from_padding=True)
DISTILBERT = EncoderFamily(
    "distilbert.",
    "transformer.layer",
    DISTILBERT_LAYER,
    width="dim",
    layers="n_layers",
    heads="n_heads",
    inner="hidden_dim",
    activation="activation",
    eps=1e-12,
    has_types=False,
    dense="pre_classifier",
    dense_activation="relu",
    classes="classifier",
)
MPNET = EncoderFamily(
    "mpnet.",
    "encoder.layer",
    MPNET_LAYER,
    has_types=False,
    counts_from_padding=True,
    relative="encoder.relative_attention_bias.weight",
)
FAMILIES: Mapping[str, EncoderFamily] = {
    "bert": BERT,
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "camembert": ROBERTA,
    "distilbert": DISTILBERT,
    "mpnet": MPNET,
}
"""By the `model_type` of config.json."""


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes and variants of one encoder."""

    model_type: str
    family: EncoderFamily
    head: Head
    width: int
    inner: int
    num_layers: int
    num_heads: int
    vocab_size: int
    num_positions: int
    num_types: int
    """Rows of the table of token types; 0 without one."""
    activation: Activation
    norm_eps: float
    padding_id: int
    num_buckets: int = 0
    """Distances that the relative table tells apart."""

    @property
    def head_size(self) -> int:
        return self.width // self.num_heads

    @property
    def classes(self) -> str:
        """The layer that makes classes."""
        return self.family.classes if self.head == "text" else "classifier"

    @property
    def first_position(self) -> int:
        return self.padding_id + 1 if self.family.counts_from_padding else 0

    @property
    def max_tokens(self) -> int:
        """Of one text."""
        return self.num_positions - self.first_position


def is_encoder(config: Mapping[str, Any]) -> bool:
    return config.get("model_type") in FAMILIES


def read_encoder(values: Mapping[str, Any], where: str = "config.json") -> EncoderConfig:
    """Raises `UnsupportedError` for another family or variant, `FormatError` for a broken config."""
    config = Fields(values, where)
    model_type = config.text("model_type")
    if model_type not in FAMILIES:
        raise UnsupportedError(f"{model_type!r} is no encoder that is known; {', '.join(FAMILIES)} are.")
    family = FAMILIES[model_type]
    _refuse(config)
    eps = family.eps if family.eps is not None else config.positive("layer_norm_eps", 1e-12)
    read = EncoderConfig(
        model_type=model_type,
        family=family,
        head=_head(config),
        width=config.integer(family.width),
        inner=config.integer(family.inner),
        num_layers=config.integer(family.layers, most=MOST_LAYERS),
        num_heads=config.integer(family.heads, most=MOST_HEADS),
        vocab_size=config.integer("vocab_size"),
        num_positions=config.integer("max_position_embeddings", most=MAX_POSITIONS),
        num_types=config.integer("type_vocab_size", 2) if family.has_types else 0,
        activation=read_activation(config, family.activation, "gelu"),
        norm_eps=eps,
        padding_id=config.integer("pad_token_id", 1, least=0) if family.counts_from_padding else 0,
        num_buckets=config.integer("relative_attention_num_buckets", 32, least=4) if family.relative else 0,
    )
    if read.width % read.num_heads or read.max_tokens < 1:
        raise FormatError(
            f"{where}: {read.num_heads} heads of a width of {read.width} and {read.num_positions} positions "
            "do not fit together."
        )
    return read


def _refuse(config: Fields) -> None:
    """Variants that would compute something else."""
    positions = config.text("position_embedding_type", "absolute")
    if positions != "absolute":
        raise UnsupportedError(f"position_embedding_type {positions!r} of this encoder is not supported.")
    for key in ("is_decoder", "add_cross_attention"):
        if config.flag(key):
            raise UnsupportedError(f"{key} makes a decoder of this encoder, which is not supported.")
    if "quantization_config" in config:
        raise UnsupportedError("This encoder is quantised already.", hint="Start from its floats.")


def _head(config: Fields) -> Head:
    names = config.texts("architectures") if "architectures" in config else ("Model",)
    name = names[0] if names else "Model"
    for ending, head in HEADS.items():
        if name.endswith(ending):
            return head
    raise UnsupportedError(
        f"Architecture {name!r} is not supported; encoders end in {', '.join(HEADS)} here."
    )


def encoder_name(stored: str, family: EncoderFamily) -> str:
    """A tensor's name without the model's prefix and with the norms' present spelling."""
    name = stored.removeprefix(family.prefix)
    for old, new in ((".gamma", ".weight"), (".beta", ".bias")):
        if name.endswith(old):
            name = name.removesuffix(old) + new
    return name


def encoder_names(names: Iterable[str], family: EncoderFamily) -> dict[str, str]:
    """The family's name -> the name in the checkpoint."""
    return {encoder_name(name, family): name for name in names}


def encoder_shapes(config: EncoderConfig, num_classes: int = 0) -> dict[str, tuple[int, ...]]:
    """Every tensor that the forward pass reads."""
    width, names = config.width, config.family.names
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config.vocab_size, width),
        "embeddings.position_embeddings.weight": (config.num_positions, width),
    }
    if config.num_types:
        shapes["embeddings.token_type_embeddings.weight"] = (config.num_types, width)
    shapes |= _norm("embeddings.LayerNorm", width)
    for number in range(config.num_layers):
        layer = f"{config.family.layer}.{number}."
        for name in (names.query, names.key, names.value, names.out):
            shapes |= _linear(layer + name, width, width)
        shapes |= _norm(layer + names.attention_norm, width)
        shapes |= _linear(layer + names.up, config.inner, width) | _linear(
            layer + names.down, width, config.inner
        )
        shapes |= _norm(layer + names.output_norm, width)
    if config.family.relative:
        shapes[config.family.relative] = (config.num_buckets, config.num_heads)
    if config.head == "text":
        shapes |= _linear(config.family.dense, width, width)
        shapes |= _linear(config.family.classes, num_classes, width)
    elif config.head == "tokens":
        shapes |= _linear("classifier", num_classes, width)
    return shapes


def _linear(name: str, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


MAX_DISTANCE = 128
"""From which on all distances are one."""


def distance_buckets(config: EncoderConfig) -> Array:
    """Row of the relative table for each distance, int64 [2 * max_tokens - 1], from far before to far after.

    Near distances have a row each, far ones share them by their logarithm, computed in float32 as
    transformers does: https://arxiv.org/abs/1910.10683, section 2.1.
    """
    distance = np.arange(1 - config.max_tokens, config.max_tokens)
    half = config.num_buckets // 2
    near, size = half // 2, np.abs(distance)
    scale = np.float32(math.log(MAX_DISTANCE / near))
    logs = np.log(np.maximum(size, 1).astype(np.float32) / np.float32(near)) / scale
    far = np.minimum(near + (logs * np.float32(half - near)).astype(np.int64), half - 1)
    found: Array = np.where(distance > 0, half, 0) + np.where(size < near, size, far)
    return found


def check_encoder(bundle: Bundle, config: EncoderConfig) -> dict[str, TensorInfo]:
    """The tensors that are read, by the family's names. Raises `FormatError` for one that does not fit."""
    stored = encoder_names(bundle.tensors.infos, config.family)
    classes = stored.get(f"{config.classes}.weight") if config.head != "states" else None
    shape = bundle.tensors.infos[classes].shape if classes else ()
    num_classes = shape[0] if shape else 0
    found: dict[str, TensorInfo] = {}
    for name, shape in encoder_shapes(config, num_classes).items():
        if name not in stored:
            raise FormatError(
                f"{bundle.name}: tensor {name} of shape {shape} is missing.",
                hint=f"Check that its {bundle.config_name} belongs to these weights.",
            )
        info = bundle.tensors.infos[stored[name]]
        if tuple(info.shape) != shape:
            raise FormatError(
                f"{bundle.name}: tensor {name} has shape {tuple(info.shape)}, expected {shape}.",
                hint=f"Check that its {bundle.config_name} belongs to these weights.",
            )
        found[name] = info
    return found


UNREAD = ("pooler.", "cls.", "lm_head.", "vocab_transform.", "vocab_layer_norm.", "vocab_projector.")
"""Beginnings of what only training or another head reads."""
BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")


def left_over(bundle: Bundle, config: EncoderConfig, read: Iterable[str]) -> tuple[str, ...]:
    """Tensors that are left out. Raises `FormatError` for one that belongs to no known part."""
    stored, taken = encoder_names(bundle.tensors.infos, config.family), set(read)
    extra = [name for name in stored if name not in taken and name not in BUFFERS]
    unknown = [name for name in extra if not name.startswith(UNREAD)]
    if unknown:
        shape = tuple(bundle.tensors.infos[stored[unknown[0]]].shape)
        more = f" ({len(unknown) - 1} more like it)" if len(unknown) > 1 else ""
        raise FormatError(
            f"{bundle.name}: tensor {unknown[0]} of shape {shape} belongs to no part of this "
            f"architecture{more}.",
            hint=f"Check that its {bundle.config_name} belongs to these weights.",
        )
    return tuple(extra)
