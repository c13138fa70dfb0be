"""The built-in model's pre-training in transformers and PyTorch alone, on given windows.

    python recipe_transformers.py CONFIG.json WEIGHTS.npz WINDOWS.npz RECIPE.toml LOG.jsonl

LlamaForCausalLM under autocast, torch.optim.Muon for the matrices of layers, AdamW for the rest; a line of
loss and seconds per update.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import tomllib
import torch
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM


def main() -> None:
    config_file, weights_file, windows_file, recipe_file, log_file = map(Path, sys.argv[1:])
    recipe = tomllib.loads(recipe_file.read_text("utf-8"))
    model = LlamaForCausalLM(LlamaConfig(**json.loads(config_file.read_text("utf-8"))))
    weights = {name: torch.from_numpy(each) for name, each in np.load(weights_file).items()}
    missing, unknown = model.load_state_dict(weights, strict=False)
    assert not unknown and set(missing) <= {"lm_head.weight"}
    matrices = [each for name, each in model.named_parameters() if "layers" in name and each.ndim == 2]
    others = [each for name, each in model.named_parameters() if "layers" not in name or each.ndim < 2]
    muon = torch.optim.Muon(matrices, weight_decay=recipe["weight_decay"], momentum=0.95)
    adamw = torch.optim.AdamW(others, betas=(0.9, recipe["adam_beta2"]), weight_decay=0.0)
    windows = np.load(windows_file)
    with log_file.open("w", encoding="utf-8", buffering=1) as log:
        for step, share in enumerate(windows["shares"].tolist()):
            start = time.monotonic()
            batches = [windows[f"{step}/{at}"] for at in range(recipe["gradient_accumulation_steps"])]
            loss = backward(model, [torch.from_numpy(each.astype(np.int64)) for each in batches])
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer, rate in ((muon, recipe["muon_learning_rate"]), (adamw, recipe["learning_rate"])):
                optimizer.param_groups[0]["lr"] = rate * share
                optimizer.step()
                optimizer.zero_grad()
            log.write(json.dumps({"loss": loss, "seconds": time.monotonic() - start}) + "\n")


def backward(model: LlamaForCausalLM, batches: list[torch.Tensor]) -> float:
    """Gradients of the mean over all predicted tokens."""
    count, total = sum(each[:, 1:].numel() for each in batches), 0.0
    for ids in batches:
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(ids[:, :-1], use_cache=False).logits
        wanted = ids[:, 1:].flatten()
        loss = functional.cross_entropy(logits.flatten(0, 1).float(), wanted, reduction="sum") / count
        loss.backward()
        total += loss.item()
    return total


if __name__ == "__main__":
    main()
