"""Writes data/lora/: tiny models, adapters that PEFT trained on them, and what PEFT merges them into.

    python tests/formats/make_lora_goldens.py

Made with torch 2.13.0, transformers 5.23.0 and peft 0.21.2. Nothing else may change these files.
"""

import json
import shutil
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

OUT = Path(__file__).parent / "data" / "lora"
LLAMA = LlamaConfig(
    vocab_size=48, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=64, bos_token_id=1, eos_token_id=2,
)  # fmt: skip
GPT2 = GPT2Config(
    vocab_size=48, n_positions=32, n_embd=16, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=2
)
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
KINDS = {
    "plain": (LLAMA, {"r": 4, "lora_alpha": 8, "target_modules": ALL}),
    "patterns": (
        LLAMA,
        {
            "r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "v_proj"], "use_rslora": True,
            "rank_pattern": {"layers.1.self_attn.q_proj": 8}, "alpha_pattern": {"v_proj": 12},
        },
    ),
    "head": (LLAMA, {"r": 2, "lora_alpha": 2, "target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}),
    "gpt2": (GPT2, {"r": 4, "lora_alpha": 8, "target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}),
    "dora": (LLAMA, {"r": 2, "lora_alpha": 2, "target_modules": ["q_proj"], "use_dora": True}),
    "dora-gpt2": (
        GPT2,
        {"r": 2, "lora_alpha": 6, "target_modules": ["c_attn"], "fan_in_fan_out": True, "use_dora": True},
    ),
    "embedding": (LLAMA, {"r": 2, "lora_alpha": 2, "target_modules": ["embed_tokens"]}),
}  # fmt: skip


def base_model(config):
    torch.manual_seed(0)
    return (GPT2LMHeadModel if config is GPT2 else LlamaForCausalLM)(config).float()


def trained(config, settings):
    """A few steps, so that neither A nor B is what it began as."""
    model = get_peft_model(base_model(config), LoraConfig(**settings))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.02)
    tokens = torch.randint(0, config.vocab_size, (4, 16), generator=torch.Generator().manual_seed(1))
    for _ in range(6):
        model(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    for config, name in ((LLAMA, "llama"), (GPT2, "gpt2")):
        folder = OUT / f"base-{name}"
        base_model(config).save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
    for name, (config, settings) in KINDS.items():
        model = trained(config, settings)
        model.save_pretrained(OUT / name)
        (OUT / name / "README.md").unlink(missing_ok=True)
        path = OUT / name / "adapter_config.json"
        text = json.loads(path.read_text())
        path.write_text(json.dumps(text, indent=1, sort_keys=True) + "\n")
        before = base_model(config).state_dict()
        after = model.merge_and_unload().state_dict()
        changed = {
            key: value.contiguous() for key, value in after.items() if not torch.equal(value, before[key])
        }
        if name != "embedding":
            save_file(changed, OUT / f"{name}-merged.safetensors")


if __name__ == "__main__":
    main()
