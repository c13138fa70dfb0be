"""NeMo's `.nemo` archives: model_config.yaml, a checkpoint and a tokenizer in one tar file.

Megatron's decoder with rotary positions, RMSNorm and gated SiLU is Llama (with biases on q, k and v: Qwen 2)
under other names and with fused matrices; it is shown under Hugging Face's. Everything else can be listed,
and is named when it should become a model. The checkpoint is read where it lies, and nothing is executed.
https://github.com/NVIDIA/NeMo/tree/main/scripts/checkpoint_converters
"""

from __future__ import annotations

import importlib
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fairway.errors import FormatError, UnsupportedError
from fairway.formats.bundle import Bundle, GenerationDefaults, TensorInfo, TokenizerSource
from fairway.formats.floats import Bytes
from fairway.formats.source import Source
from fairway.formats.tar_members import MemberSource, tar_members
from fairway.formats.torch_checkpoint import TorchCheckpoint, open_torch_source
from fairway.tensors import Array, DenseTensor
from fairway.text.loader import load_tokenizer

CONFIG, WEIGHTS = "model_config.yaml", "model_weights.ckpt"
MAX_CONFIG_BYTES = 1 << 20
MAX_TOKENIZER_BYTES = 64 << 20
HINT = "Save the model again with NeMo, or take its Hugging Face folder."

OUTER = {
    "model.embedding.word_embeddings.weight": "model.embed_tokens.weight",
    "model.decoder.final_layernorm.weight": "model.norm.weight",
    "model.output_layer.weight": "lm_head.weight",
}
INNER = {
    "self_attention.linear_qkv.layer_norm_weight": "input_layernorm.weight",
    "self_attention.linear_proj.weight": "self_attn.o_proj.weight",
    "mlp.linear_fc1.layer_norm_weight": "post_attention_layernorm.weight",
    "mlp.linear_fc2.weight": "mlp.down_proj.weight",
}
STATELESS = "_extra_state"
NEEDED = {
    "normalization": ("rmsnorm",),
    "activation": ("fast-swiglu", "swiglu"),
    "position_embedding_type": ("rope",),
}
"""model_config.yaml's keys and the values that make it a Llama."""


@dataclass(frozen=True)
class Part:
    """A tensor of a decoder: rows of a tensor of the archive; None: all of them."""

    stored: str
    rows: Array | None = None


class NemoTensors:
    """`Tensors` over the checkpoint of an archive, fused matrices taken apart."""

    def __init__(
        self, checkpoint: TorchCheckpoint, parts: Mapping[str, Part], folder: Path | None = None
    ) -> None:
        """`folder` holds the tokenizer's file, and goes with this object."""
        self.checkpoint, self.parts = checkpoint, parts
        if folder is not None:
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.infos = {name: self._info(name, part) for name, part in parts.items()}

    @property
    def sources(self) -> tuple[Source, ...]:
        return self.checkpoint.sources

    def read(self, name: str) -> DenseTensor:
        part = self._part(name)
        whole = self.checkpoint.read(part.stored)
        return whole if part.rows is None else DenseTensor(whole.type, whole.values[part.rows])

    def stored(self, name: str) -> Bytes:
        part = self._part(name)
        raw = self.checkpoint.stored(part.stored)
        if part.rows is None:
            return raw
        rows: Bytes = raw.reshape(self.checkpoint.infos[part.stored].shape[0], -1)[part.rows]
        return rows.reshape(-1)

    def _part(self, name: str) -> Part:
        if name not in self.parts:
            raise FormatError(f"{self.checkpoint.source.path} has no tensor {name!r}.", hint=HINT)
        return self.parts[name]

    def _info(self, name: str, part: Part) -> TensorInfo:
        info = self.checkpoint.infos[part.stored]
        if part.rows is None:
            return TensorInfo(name, info.type, info.shape, info.num_bytes)
        rows = len(part.rows)
        return TensorInfo(name, info.type, (rows, *info.shape[1:]), info.num_bytes // info.shape[0] * rows)


def nemo_bundle(path: Path) -> Bundle:
    """Any archive; one that is no known decoder has the class of its model as model_type."""
    members = tar_members(path)
    config = _yaml(path, members)
    if WEIGHTS not in members:
        raise UnsupportedError(
            f"{path} has no {WEIGHTS}: weights in a folder of pieces (distributed checkpoints) are not read.",
            hint="Convert it with NeMo to a single checkpoint, or to a Hugging Face folder.",
        )
    checkpoint = open_torch_source(members[WEIGHTS])
    reason = why_not(config)
    if reason is None:
        return _decoder(path, members, config, checkpoint)
    plain = {name: Part(name) for name in checkpoint.infos}
    return _bundle(path, {"model_type": _class(config)}, NemoTensors(checkpoint, plain), (reason,))


def why_not(config: Mapping[str, Any]) -> str | None:
    """Why this archive is no decoder that is known; None if it is."""
    name = _class(config)
    if not name.endswith("MegatronGPTModel"):
        return f"It is a {name}, for which there is no conversion."
    for key, values in NEEDED.items():
        if config.get(key) not in values:
            return f"Its {key} is {str(config.get(key))[:40]!r}, and only {' or '.join(values)} is Llama's."
    if config.get("rotary_percentage", 1.0) not in (1, 1.0, None):
        return "It rotates a part of each head only."
    return None


def _class(config: Mapping[str, Any]) -> str:
    return str(config.get("target", "model without a class")).rpartition(".")[2][:80]


def _decoder(
    path: Path, members: Mapping[str, MemberSource], config: Mapping[str, Any], checkpoint: TorchCheckpoint
) -> Bundle:
    sizes = _Sizes(path, config)
    parts = dict(_parts(checkpoint, sizes))
    vocabulary = parts.get("model.embed_tokens.weight")
    if vocabulary is None:
        raise FormatError(f"{path} has no word embeddings.", hint=HINT)
    has_bias = any(name.endswith("q_proj.bias") for name in parts)
    values = sizes.config() | {
        "model_type": "qwen2" if has_bias else "llama",
        "architectures": ["Qwen2ForCausalLM" if has_bias else "LlamaForCausalLM"],
        "vocab_size": checkpoint.infos[vocabulary.stored].shape[0],
        "tie_word_embeddings": "lm_head.weight" not in parts,
    }
    folder = Path(tempfile.mkdtemp(prefix="fairway-nemo-"))
    tensors = NemoTensors(checkpoint, parts, folder)
    tokenizer, eos = _tokenizer(path, members, config, folder)
    bundle = _bundle(path, values | {"eos_token_id": eos}, tensors, ())
    return _with_tokenizer(bundle, tokenizer, eos)


def _bundle(path: Path, config: Mapping[str, Any], tensors: NemoTensors, warnings: tuple[str, ...]) -> Bundle:
    return Bundle(
        name=path.stem,
        path=path,
        container="nemo",
        config=config,
        tensors=tensors,
        tokenizer=None,
        chat_template=None,
        generation=GenerationDefaults(),
        end_of_text_ids=(),
        sources=tensors.sources,
        warnings=warnings,
    )


def _with_tokenizer(bundle: Bundle, tokenizer: TokenizerSource | None, eos: int | None) -> Bundle:
    return replace(bundle, tokenizer=tokenizer, end_of_text_ids=() if eos is None else (eos,))


class _Sizes:
    """The numbers of model_config.yaml, each a whole number of a sane size."""

    def __init__(self, path: Path, values: Mapping[str, Any]) -> None:
        self._path, self._values = path, values
        self.hidden = self.number("hidden_size")
        self.heads = self.number("num_attention_heads")
        self.groups = self.number("num_query_groups", self.heads)
        self.head_size = self.number("kv_channels", max(self.hidden // self.heads, 1))
        if self.heads % self.groups:
            raise FormatError(
                f"{path}: {self.heads} heads cannot share {self.groups} groups evenly.", hint=HINT
            )

    def number(self, key: str, default: int | None = None) -> int:
        value = self._values.get(key)
        value = default if value is None else value
        if type(value) is not int or not 0 < value < 1 << 31:
            raise FormatError(
                f"{self._path}: {key} in {CONFIG} is {str(value)[:40]!r}, not a size.", hint=HINT
            )
        return value

    def config(self) -> dict[str, Any]:
        context = self.number("max_position_embeddings", self.number("encoder_seq_length", 2048))
        factor = self._values.get("seq_len_interpolation_factor")
        linear = {"rope_type": "linear", "factor": float(factor)} if isinstance(factor, int | float) else None
        return {
            "hidden_size": self.hidden,
            "intermediate_size": self.number("ffn_hidden_size"),
            "num_hidden_layers": self.number("num_layers"),
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.groups,
            "head_dim": self.head_size,
            "max_position_embeddings": context,
            "rms_norm_eps": float(self._values.get("layernorm_epsilon", 1e-5)),
            "rope_theta": float(self._values.get("rotary_base", 10_000)),
            "rope_scaling": linear,
            "hidden_act": "silu",
        }

    def fused_rows(self) -> dict[str, Array]:
        """Rows of q, k and v in the fused matrix: each group's queries, then its key, then its value."""
        shared, size = self.heads // self.groups, self.head_size
        rows = np.arange(self.groups * (shared + 2) * size).reshape(self.groups, shared + 2, size)
        return {
            "q_proj": rows[:, :shared].reshape(-1),
            "k_proj": rows[:, shared].reshape(-1),
            "v_proj": rows[:, shared + 1].reshape(-1),
        }


def _parts(checkpoint: TorchCheckpoint, sizes: _Sizes) -> Iterator[tuple[str, Part]]:
    """Hugging Face's names and where their rows lie. A name that is not known is an error."""
    fused = sizes.fused_rows()
    for stored, info in checkpoint.infos.items():
        if STATELESS in stored:
            continue
        if stored in OUTER:
            yield OUTER[stored], Part(stored)
            continue
        layer, _, inner = stored.removeprefix("model.decoder.layers.").partition(".")
        kind = inner.rpartition(".")[2]
        if not layer.isdigit():
            raise _unknown(checkpoint, stored)
        prefix = f"model.layers.{int(layer)}"
        if inner in INNER:
            yield f"{prefix}.{INNER[inner]}", Part(stored)
        elif inner in ("self_attention.linear_qkv.weight", "self_attention.linear_qkv.bias"):
            if info.shape[0] != sum(len(rows) for rows in fused.values()):
                raise FormatError(f"Tensor {stored} has {info.shape[0]} rows, not q, k and v.", hint=HINT)
            for name, rows in fused.items():
                yield f"{prefix}.self_attn.{name}.{kind}", Part(stored, rows)
        elif inner == "mlp.linear_fc1.weight" and info.shape[0] % 2 == 0:
            half = info.shape[0] // 2
            yield f"{prefix}.mlp.gate_proj.weight", Part(stored, np.arange(half))
            yield f"{prefix}.mlp.up_proj.weight", Part(stored, np.arange(half, 2 * half))
        else:
            raise _unknown(checkpoint, stored)


def _unknown(checkpoint: TorchCheckpoint, name: str) -> UnsupportedError:
    return UnsupportedError(
        f"Tensor {name[:120]!r} of {checkpoint.source.path} belongs to no part of a Llama.", hint=HINT
    )


def _tokenizer(
    path: Path, members: Mapping[str, MemberSource], config: Mapping[str, Any], folder: Path
) -> tuple[TokenizerSource | None, int | None]:
    """The SentencePiece model of the archive, as a file, and its end of text."""
    stated = config.get("tokenizer")
    name = str(stated.get("model") or "") if isinstance(stated, dict) else ""
    member = members.get(name.removeprefix("nemo:"))
    if member is None:
        return None, None
    if member.size > MAX_TOKENIZER_BYTES:
        raise FormatError(f"The tokenizer in {path} has {member.size} bytes.", hint=HINT)
    file = folder / "tokenizer.model"
    file.write_bytes(member.read(0, member.size))
    source = TokenizerSource("huggingface", {"tokenizer.model": file})
    return source, load_tokenizer(source).eos_token_id


def _yaml(path: Path, members: Mapping[str, MemberSource]) -> dict[str, Any]:
    """model_config.yaml, without aliases, which could make a small text very large."""
    if CONFIG not in members:
        raise FormatError(f"{path} has no {CONFIG}: it is no NeMo model.", hint=HINT)
    source = members[CONFIG]
    if source.size > MAX_CONFIG_BYTES:
        raise FormatError(f"{CONFIG} in {path} has {source.size} bytes.", hint=HINT)
    yaml: Any = importlib.import_module("yaml")
    try:
        text = source.read(0, source.size).decode("utf-8")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise FormatError(f"{CONFIG} in {path} uses YAML aliases, which are not read.", hint=HINT)
        value = yaml.load(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise FormatError(f"{CONFIG} in {path} is broken: {str(error)[:120]}.", hint=HINT) from None
    if not isinstance(value, dict):
        raise FormatError(f"{CONFIG} in {path} holds no table.", hint=HINT)
    return value
