"""Write a checkpoint as a folder in the published layout: weights in bfloat16, config, tokenizer.

    python -m recipes.builtin_model.export --checkpoint WORK_FOLDER/instruct.pt \\
        --tokenizer WORK_FOLDER/tokenizer.json --out src/fairway/builtin

The rule: the folder alone is enough, for Fairway as for any program that reads Llama models.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, processors

from .chat import TEMPLATE
from .checkpoint import load_checkpoint
from .model import LanguageModel
from .settings import RECIPE_FILE, ModelShape, load_recipe
from .tokenizer import BEGIN, END, TURN_END, UNKNOWN, load_tokenizer

WEIGHTS_FILE = "model.safetensors"


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
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": shape.max_position_embeddings,
        "rms_norm_eps": shape.rms_norm_eps,
        "rope_theta": shape.rope_theta,
        "rope_scaling": None,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "initializer_range": 0.02,
        "torch_dtype": "bfloat16",
        **token_ids(tokenizer),
    }


def token_ids(tokenizer: Tokenizer) -> dict[str, object]:
    """A text ends with </s>, an answer with <|end|>; generation stops at either."""
    return {
        "bos_token_id": tokenizer.token_to_id(BEGIN),
        "eos_token_id": [tokenizer.token_to_id(TURN_END), tokenizer.token_to_id(END)],
        "pad_token_id": tokenizer.token_to_id(END),
    }


def generation_config(tokenizer: Tokenizer) -> dict[str, object]:
    return {
        **token_ids(tokenizer),
        "do_sample": True,
        "temperature": 0.5,
        "top_k": 40,
        "top_p": 0.95,
    }


def tokenizer_config(shape: ModelShape) -> dict[str, object]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BEGIN,
        "eos_token": TURN_END,
        "pad_token": END,
        "unk_token": UNKNOWN,
        "clean_up_tokenization_spaces": False,
        "model_max_length": shape.max_position_embeddings,
        "chat_template": TEMPLATE,
    }


def export(checkpoint: Path, tokenizer_file: Path, shape: ModelShape, out: Path) -> None:
    """Write the five files; raises FileNotFoundError when there is no checkpoint."""
    state = load_checkpoint(checkpoint)
    if state is None:
        raise FileNotFoundError(f"no checkpoint at {checkpoint}")
    out.mkdir(parents=True, exist_ok=True)
    weights = {name: weight.bfloat16().contiguous() for name, weight in state["model"].items()}
    save_file(weights, out / WEIGHTS_FILE, metadata={"format": "pt"})
    (out / WEIGHTS_FILE).chmod(0o644)
    tokenizer = load_tokenizer(tokenizer_file)
    _begin_every_text(tokenizer)
    tokenizer.save(str(out / "tokenizer.json"))
    _write_json(out / "config.json", model_config(shape, tokenizer))
    _write_json(out / "generation_config.json", generation_config(tokenizer))
    _write_json(out / "tokenizer_config.json", tokenizer_config(shape))


def load_exported(folder: Path, shape: ModelShape) -> LanguageModel:
    """The shipped weights, rounding included, as a model of this recipe in float32."""
    model = LanguageModel(shape)
    weights = load_file(folder / WEIGHTS_FILE)
    model.load_state_dict({name: weight.float() for name, weight in weights.items()})
    return model.eval()


def _begin_every_text(tokenizer: Tokenizer) -> None:
    """Let encode put <s> in front, unless it is told to add no special tokens."""
    begin = (BEGIN, tokenizer.token_to_id(BEGIN))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", pair=f"{BEGIN} $A {BEGIN} $B", special_tokens=[begin]
    )


def _write_json(path: Path, value: dict[str, object]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, default=RECIPE_FILE)
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    export(args.checkpoint, args.tokenizer, load_recipe(args.recipe).model, args.out)


if __name__ == "__main__":
    main()
