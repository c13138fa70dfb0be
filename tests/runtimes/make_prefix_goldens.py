"""Records prefixes that PEFT made and its answers with them: python tests/runtimes/make_prefix_goldens.py

Made with torch 2.13.0, transformers 5.23.0 and peft 0.21.2 on the models of tests/formats/data/lora. Nothing
else may change these files.
"""

import json
from pathlib import Path

import numpy as np
import torch
from make_adapter_goldens import NUM_GREEDY, OUT, PROMPT, base
from peft import PeftModel, PrefixTuningConfig, get_peft_model

PREFIXES = {
    "prefix": ("base-llama", {"num_virtual_tokens": 6}),
    "projected": (
        "base-llama",
        {"num_virtual_tokens": 8, "prefix_projection": True, "encoder_hidden_size": 16},
    ),
    "gpt2": ("base-gpt2", {"num_virtual_tokens": 5}),
}


def made(name: str) -> Path:
    """Its folder, as PEFT saves it."""
    of, settings = PREFIXES[name]
    torch.manual_seed(len(name))
    model = get_peft_model(base(of), PrefixTuningConfig(task_type="CAUSAL_LM", **settings))
    folder = OUT / "prefixes" / name
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(
        json.dumps(config | {"base_model_name_or_path": of}, indent=1) + "\n"
    )
    return folder


def next_logits(model, tokens):
    """A prefix is a cache, so the whole text is given each time."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([tokens])).logits[0].numpy()


def main():
    logits, answers = {}, {}
    for name, (of, _) in PREFIXES.items():
        model = PeftModel.from_pretrained(base(of), made(name)).eval()
        logits[name] = next_logits(model, PROMPT)
        tokens = list(PROMPT)
        for _ in range(NUM_GREEDY):
            tokens.append(int(next_logits(model, tokens)[-1].argmax()))
        answers[name] = tokens[len(PROMPT) :]
    np.savez_compressed(OUT / "prefixes.npz", **logits)
    (OUT / "prefixes.json").write_text(json.dumps(answers) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
