"""What a decoder is made of, read from a Hugging Face config.json before any weight is touched.

`DecoderConfig` holds numbers, not behaviour: a family's file says which of them it reads and what
its forward pass does with them. The rule: whatever this engine cannot run is refused here, by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fairway.errors import FormatError, UnsupportedError
from fairway.kernels.program import Activation
from fairway.models.fields import Fields
from fairway.models.rope_config import RopeConfig, read_rope

ACTIVATIONS: dict[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}

MOST_LAYERS = 1024
MOST_HEADS = 4096
LARGEST_HEAD = 4096


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes, scales and variants of one decoder. Windows are per layer; None attends to everything."""

    model_type: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_size: int
    max_context: int
    norm_eps: float
    activation: Activation
    tied_embeddings: bool
    windows: tuple[int | None, ...]
    attention_scale: float
    rope: RopeConfig | None = None
    local_rope: RopeConfig | None = None
    """Rope of the layers with a window, where it differs (Gemma 3)."""
    attention_bias: bool = False
    """Biases on q, k and v; `output_bias` is the one after attention."""
    output_bias: bool = False
    mlp_bias: bool = False
    attention_softcap: float | None = None
    logits_softcap: float | None = None
    embedding_scale: float = 1.0
    residual_scale: float = 1.0
    logits_scale: float = 1.0

    @property
    def query_size(self) -> int:
        return self.num_heads * self.head_size

    @property
    def kv_size(self) -> int:
        return self.num_kv_heads * self.head_size

    @property
    def ropes(self) -> tuple[RopeConfig, ...]:
        """One per layer; only for families that rotate."""
        if self.rope is None:
            raise FormatError(f"{self.model_type} has no rotary positions.")
        local = self.local_rope or self.rope
        return tuple(self.rope if window is None else local for window in self.windows)


def read_decoder(config: Fields, *, theta: float = 10_000.0) -> DecoderConfig:
    """A config spelled as Llama's. Families `replace` the fields in which they differ."""
    hidden_size = config.integer("hidden_size")
    heads = read_heads(config, hidden_size)
    rope = read_rope(config, heads.head_size, layers="full_attention", theta=theta)
    num_layers = config.integer("num_hidden_layers", most=MOST_LAYERS)
    return DecoderConfig(
        model_type=config.text("model_type"),
        vocab_size=config.integer("vocab_size"),
        hidden_size=hidden_size,
        intermediate_size=config.integer("intermediate_size"),
        num_layers=num_layers,
        num_heads=heads.num_heads,
        num_kv_heads=heads.num_kv_heads,
        head_size=heads.head_size,
        max_context=rope.max_context,
        norm_eps=config.positive("rms_norm_eps", 1e-6),
        activation=read_activation(config),
        tied_embeddings=config.flag("tie_word_embeddings"),
        windows=(None,) * num_layers,
        attention_scale=heads.head_size**-0.5,
        rope=rope,
    )


@dataclass(frozen=True)
class HeadSizes:
    """The attention geometry that every family states the same way."""

    num_heads: int
    num_kv_heads: int
    head_size: int


def read_heads(config: Fields, hidden_size: int) -> HeadSizes:
    """Query heads, key-value heads and head size. Refuses groups that do not divide."""
    heads = config.integer("num_attention_heads", most=MOST_HEADS)
    kv_heads = config.integer("num_key_value_heads", heads, most=MOST_HEADS)
    if "head_dim" not in config and hidden_size % heads:
        raise FormatError(f"{config.where}: hidden_size {hidden_size} is not a multiple of {heads} heads.")
    head_size = config.integer("head_dim", max(hidden_size // heads, 1), most=LARGEST_HEAD)
    if heads % kv_heads:
        raise FormatError(f"{config.where}: {heads} heads cannot share {kv_heads} key-value heads evenly.")
    return HeadSizes(heads, kv_heads, head_size)


def read_activation(config: Fields, key: str = "hidden_act", default: str = "silu") -> Activation:
    name = config.text(key, default)
    if name not in ACTIVATIONS:
        raise UnsupportedError(
            f"Activation {name!r} is not supported; this engine has {', '.join(sorted(ACTIVATIONS))}."
        )
    return ACTIVATIONS[name]


def read_windows(
    config: Fields, num_layers: int, window: int | None, slides: Iterable[bool]
) -> tuple[int | None, ...]:
    """The window of each layer: `layer_types` where the config states it, else where `slides`."""
    if "layer_types" in config:
        types = config.texts("layer_types")
        unknown = sorted(set(types) - {"full_attention", "sliding_attention"})
        if unknown:
            raise UnsupportedError(
                f"Layer type {unknown[0]!r} is not supported; this engine has full_attention and "
                "sliding_attention."
            )
        if len(types) != num_layers:
            raise FormatError(f"{config.where}: layer_types names {len(types)} of {num_layers} layers.")
        slides = [kind == "sliding_attention" for kind in types]
    return tuple(window if slide else None for slide in slides)


def upper_layers_slide(config: Fields, num_layers: int) -> tuple[int | None, ...]:
    """Qwen's windows: from `max_window_layers` up, and only if `use_sliding_window` says so."""
    if not config.flag("use_sliding_window"):
        return (None,) * num_layers
    first = config.integer("max_window_layers", 28, least=0)
    window = config.integer("sliding_window", 4096)
    return read_windows(config, num_layers, window, [layer >= first for layer in range(num_layers)])
