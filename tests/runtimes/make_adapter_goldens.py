"""Records PEFT's logits with adapters beside their models: python tests/runtimes/make_adapter_goldens.py

Made with torch 2.13.0, transformers 5.23.0 and peft 0.21.2 from the models and adapters of
tests/formats/data/lora, which its own script makes. Nothing else may change these files.
"""

import json
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

LORA = Path(__file__).parents[1] / "formats" / "data" / "lora"
OUT = Path(__file__).parent / "data"
ADAPTERS = {"plain": "base-llama", "patterns": "base-llama", "gpt2": "base-gpt2"}
PROMPT = [1, 28, 16, 44, 4, 42, 29]
NUM_GREEDY = 12


def base(name):
    return AutoModelForCausalLM.from_pretrained(
        LORA / name, dtype=torch.float32, attn_implementation="eager"
    ).eval()


def answer(model):
    """Logits of every prompt token, and greedy tokens after it."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([PROMPT]), use_cache=False).logits[0].numpy()
        tokens = list(PROMPT)
        for _ in range(NUM_GREEDY):
            tokens.append(
                int(model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, -1].argmax())
            )
    return logits, tokens[len(PROMPT) :]


def main():
    OUT.mkdir(exist_ok=True)
    logits, tokens = {}, {}
    for name in dict.fromkeys(ADAPTERS.values()):
        logits[name], tokens[name] = answer(base(name))
    for name, of in ADAPTERS.items():
        logits[name], tokens[name] = answer(PeftModel.from_pretrained(base(of), LORA / name))
    np.savez_compressed(OUT / "adapters.npz", **logits)
    (OUT / "adapters.json").write_text(json.dumps({"prompt": PROMPT, "tokens": tokens}) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
