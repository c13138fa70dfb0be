"""The model as a folder in the published layout: config, tokenizer, template and weights.

From scratch (weights are zeros that `init` overwrites), and as a chat model. The rule: the folder alone is
enough, for Fairway as for any program that reads Llama models.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, processors

from fairway.formats.open import open_bundle
from fairway.formats.safetensors_writer import tensor_data, write_safetensors
from fairway.models.conversion import floats_of
from fairway.models.families import read_config
from fairway.models.sizes import expected_tensors
from fairway.tensors import F32

from .chat import TEMPLATE
from .settings import ModelShape
from .tokenizer import ASSISTANT, BEGIN, END, SYSTEM, TURN_END, UNKNOWN, USER

CONFIG, TOKENIZER, TOKENIZER_CONFIG = "config.json", "tokenizer.json", "tokenizer_config.json"
WEIGHTS = "model.safetensors"
RESEMBLES = {SYSTEM: BEGIN, USER: BEGIN, ASSISTANT: BEGIN, TURN_END: END}
"""Pre-training never saw the chat markers: each starts as the token it resembles."""


def write_scratch(folder: Path, shape: ModelShape, tokenizer: Tokenizer) -> None:
    """A model that knows nothing; a text ends with </s>."""
    folder.mkdir(parents=True)
    config = model_config(shape, tokenizer)
    tensors = expected_tensors(read_config(config, CONFIG))
    write_weights(folder, {name: np.zeros(each.shape, np.float32) for name, each in tensors.items()})
    _begin_every_text(tokenizer)
    tokenizer.save(str(folder / TOKENIZER))
    write_json(folder / TOKENIZER_CONFIG, tokenizer_config(shape.max_position_embeddings, END))
    write_json(folder / CONFIG, config | {"eos_token_id": tokenizer.token_to_id(END)})


def write_chat(pretrained: Path, folder: Path) -> None:
    """A pre-trained model that knows the chat format, and not yet how to answer in it."""
    folder.mkdir(parents=True)
    tokenizer = Tokenizer.from_file(str(pretrained / TOKENIZER))
    weights = read_weights(pretrained)
    rows = np.array(weights["model.embed_tokens.weight"])
    for marker, known in RESEMBLES.items():
        rows[tokenizer.token_to_id(marker)] = rows[tokenizer.token_to_id(known)]
    write_weights(folder, {**weights, "model.embed_tokens.weight": rows})
    tokenizer.save(str(folder / TOKENIZER))
    config = json.loads((pretrained / CONFIG).read_text("utf-8"))
    write_json(folder / CONFIG, config | token_ids(tokenizer))
    as_chat = tokenizer_config(config["max_position_embeddings"], TURN_END)
    write_json(folder / TOKENIZER_CONFIG, as_chat | {"chat_template": TEMPLATE})


def model_config(shape: ModelShape, tokenizer: Tokenizer) -> dict[str, object]:
    """config.json, in the terms of the Llama architecture."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": shape.vocab_size,
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.num_hidden_layers,
        "num_attention_heads": shape.num_attention_heads,
        "num_key_value_heads": shape.num_key_value_heads,
        "head_dim": shape.hidden_size // shape.num_attention_heads,
        "hidden_act": "silu",
        "max_position_embeddings": shape.max_position_embeddings,
        "rms_norm_eps": shape.rms_norm_eps,
        "rope_theta": shape.rope_theta,
        "rope_scaling": None,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "initializer_range": 0.02,
        "torch_dtype": "float32",
        **token_ids(tokenizer),
    }


def token_ids(tokenizer: Tokenizer) -> dict[str, object]:
    """A text ends with </s>, an answer with <|end|>; generation stops at either."""
    return {
        "bos_token_id": tokenizer.token_to_id(BEGIN),
        "eos_token_id": [tokenizer.token_to_id(TURN_END), tokenizer.token_to_id(END)],
        "pad_token_id": tokenizer.token_to_id(END),
    }


def tokenizer_config(max_length: int, end: str) -> dict[str, object]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BEGIN,
        "eos_token": end,
        "pad_token": END,
        "unk_token": UNKNOWN,
        "clean_up_tokenization_spaces": False,
        "model_max_length": max_length,
    }


def read_weights(folder: Path) -> dict[str, F32]:
    """By their names, in float32."""
    tensors = open_bundle(folder).tensors
    return {name: np.array(floats_of(tensors.read(name))) for name in tensors.infos}


def write_weights(folder: Path, weights: Mapping[str, F32]) -> None:
    data = {name: tensor_data(values) for name, values in weights.items()}
    write_safetensors(folder / WEIGHTS, data, {"format": "pt"})


def write_json(path: Path, value: Mapping[str, object]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _begin_every_text(tokenizer: Tokenizer) -> None:
    """Let encode put <s> in front, unless it is told to add no special tokens."""
    begin = (BEGIN, tokenizer.token_to_id(BEGIN))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", pair=f"{BEGIN} $A {BEGIN} $B", special_tokens=[begin]
    )
