"""Records one step of PEFT + transformers on tiny models: the loss and every gradient of LoRA, DoRA
and prefix tuning.

PYTHONPATH=src python tests/tune/make_peft_goldens.py
"""

from pathlib import Path

import numpy as np
import peft
import torch
from peft_cases import CASES, DORA_CASES, LORA, NUM_VIRTUAL, PREFIX_CASES, ROWS, lora_weight, tiny

from fairway.tune.lora_targets import ALL

RENAMED = {"prompt_encoder.default.embedding.weight": "prompt_embeddings"}
"""As it is called on disk."""


def record(name: str, kind: str) -> None:
    from reference_models import build, fill

    answer = tiny(name)
    model = build(answer.config)
    fill(model, answer.weights)
    targets = list(LORA.target_modules) if LORA.target_modules != (ALL,) else ALL
    settings = peft.LoraConfig(
        r=LORA.r, lora_alpha=LORA.lora_alpha, use_rslora=LORA.use_rslora, target_modules=targets,
        task_type="CAUSAL_LM", use_dora=kind == "dora",
    )  # fmt: skip
    if kind == "prefix":
        settings = peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=NUM_VIRTUAL)
    adapted = peft.get_peft_model(model, settings)
    trained = {
        RENAMED.get(key, key.replace(".default", "").replace("vector.weight", "vector")): each
        for key, each in adapted.named_parameters()
        if each.requires_grad
    }
    for key, each in trained.items():
        each.data = torch.from_numpy(lora_weight(key, tuple(each.shape)))
    losses = [  # each row alone: nothing can leak from one to another
        adapted(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss
        * sum(label >= 0 for label in labels[1:])
        for ids, labels in ROWS
    ]
    count = sum(label >= 0 for _, labels in ROWS for label in labels[1:])
    loss = torch.stack(losses).sum() / count
    loss.backward()
    gradients = {key: each.grad.numpy() for key, each in trained.items()}
    path = Path(__file__).parent / "goldens" / f"{kind}-{name}.npz"
    np.savez_compressed(path, loss=np.float32(loss.item()), **gradients)
    print(name, loss.item(), len(gradients))


if __name__ == "__main__":
    torch.set_num_threads(1)
    for made, cases in (("peft", CASES), ("dora", DORA_CASES), ("prefix", PREFIX_CASES)):
        for case in cases:
            record(case, made)
