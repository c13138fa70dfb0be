"""Records one step of TRL's trainers on tiny models with LoRA: losses, figures and every gradient.

TRL's own loss functions run on a stand-in for the trainer, which would want a tokenizer and a data set.

PYTHONPATH=src python tests/tune/make_trl_goldens.py
"""

import json
from collections import defaultdict
from pathlib import Path
from types import MethodType, SimpleNamespace

import numpy as np
import peft
import torch
from trl import DPOTrainer, GRPOTrainer, KTOTrainer
from trl.experimental.gkd import GKDTrainer
from trl.experimental.orpo import ORPOTrainer
from trl.trainer.utils import add_fused_lm_head
from trl_cases import (
    ADVANTAGES,
    BETA,
    CASES,
    EPSILON,
    LABEL_SMOOTHING,
    LABELS,
    LORA,
    OLD,
    TEMPERATURE,
    TRIPLES,
    WEIGHTS,
    lora_weight,
    tiny,
)

GOLDENS = Path(__file__).parent / "goldens"
FIELDS = ("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1")
KEPT = ("layers.0.self_attn.q_proj", "layers.1.mlp.down_proj")
"""Layers whose gradients are kept: the first and nearly the last to get one."""
WANTED = ("rewards/", "logps/", "kl", "clip_ratio/region_mean")


def adapted(name: str, temperature: float = 1.0) -> peft.PeftModel:
    from reference_models import build, fill

    answer = tiny(name)
    model = build(answer.config)
    fill(model, answer.weights)
    add_fused_lm_head(model, temperature=temperature, outputs=FIELDS)
    settings = peft.LoraConfig(
        r=LORA.r, lora_alpha=LORA.lora_alpha, use_rslora=LORA.use_rslora, target_modules="all-linear",
        task_type="CAUSAL_LM",
    )  # fmt: skip
    found = peft.get_peft_model(model, settings)
    for key, each in found.named_parameters():
        if each.requires_grad:
            each.data = torch.from_numpy(lora_weight(key.replace(".default", ""), tuple(each.shape)))
    return found


def padded(sequences: list[tuple[list[int], list[int]]], prefix: str = "") -> dict[str, torch.Tensor]:
    """(prompt, answer) each."""
    longest = max(len(prompt) + len(answer) for prompt, answer in sequences)
    found = {name: torch.zeros(len(sequences), longest, dtype=torch.long)
             for name in ("input_ids", "attention_mask", "completion_mask")}  # fmt: skip
    for row, (prompt, answer) in enumerate(sequences):
        length = len(prompt) + len(answer)
        found["input_ids"][row, :length] = torch.tensor(prompt + answer)
        found["attention_mask"][row, :length] = 1
        found["completion_mask"][row, len(prompt) : length] = 1
    return {prefix + name: values for name, values in found.items()}


def preferences() -> dict[str, torch.Tensor]:
    """All chosen, then all rejected."""
    chosen = [(each.prompt, each.chosen) for each in TRIPLES]
    return padded(chosen + [(each.prompt, each.rejected) for each in TRIPLES])


def trainer(model: peft.PeftModel, **settings: object) -> SimpleNamespace:
    def same(values: object, **_: object) -> object:
        return values

    accelerator = SimpleNamespace(
        device=torch.device("cpu"), gather=same, gather_for_metrics=same, reduce=same, unwrap_model=same,
        num_processes=1, autocast=lambda: torch.autocast("cpu", enabled=False),
    )  # fmt: skip
    model.train()
    return SimpleNamespace(
        model=model, ref_model=None, accelerator=accelerator, aux_loss_enabled=False, beta=BETA,
        args=SimpleNamespace(gradient_checkpointing_kwargs=None, delta=None, use_bias_correction_kl=False,
                             steps_per_generation=1),
        precompute_ref_logps=False, _metrics={"train": defaultdict(list)}, _total_train_tokens=0, _tp_size=1,
        **settings,
    )  # fmt: skip


def dpo(name: str, loss_type: str) -> tuple[peft.PeftModel, torch.Tensor, dict]:
    model = adapted(name)
    one = trainer(model, ld_alpha=None, f_divergence_type="reverse_kl", loss_types=[loss_type],
                  loss_weights=[1.0], label_smoothing=LABEL_SMOOTHING, use_weighting=False)  # fmt: skip
    inputs = preferences()
    return model, DPOTrainer._compute_loss(one, model, inputs, False), one._metrics["train"]


def kto(name: str) -> tuple[peft.PeftModel, torch.Tensor, dict]:
    model = adapted(name)
    one = trainer(
        model, calculate_KL=True, loss_type="kto", desirable_weight=WEIGHTS[0], undesirable_weight=WEIGHTS[1]
    )
    one._compute_kl_logps = MethodType(KTOTrainer._compute_kl_logps, one)
    strangers = [TRIPLES[at - 1].chosen for at in range(len(TRIPLES))]
    inputs = padded([(each.prompt, each.chosen) for each in TRIPLES])
    inputs |= padded([(each.prompt, other) for each, other in zip(TRIPLES, strangers, strict=True)], "KL_")
    inputs["label"] = torch.tensor(LABELS)
    return model, KTOTrainer._compute_loss(one, model, inputs, False), one._metrics["train"]


def orpo(name: str) -> tuple[peft.PeftModel, torch.Tensor, dict]:
    """TRL's odds ratio; its cross entropy also counts the prompt, so that part is PEFT's on the answers."""
    model = adapted(name)
    inputs = preferences()
    labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
    logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    logps = ORPOTrainer.get_batch_logps(logits, labels, average_log_prob=True)
    half = len(TRIPLES)
    losses, better, worse, _, odds = ORPOTrainer.odds_ratio_loss(trainer(model), logps[:half], logps[half:])
    chosen = torch.nn.functional.cross_entropy(logits[:half, :-1].flatten(0, 1), labels[:half, 1:].flatten())
    figures = {"rewards/chosen": better.mean().item(), "rewards/rejected": worse.mean().item(),
               "log_odds_chosen": odds.item()}  # fmt: skip
    return model, chosen - losses.mean(), figures


def grpo(name: str, loss_type: str) -> tuple[peft.PeftModel, torch.Tensor, dict]:
    model = adapted(name, TEMPERATURE)
    one = trainer(model, top_entropy_quantile=1.0, off_policy_mask_threshold=None,
                  importance_sampling_level="token", loss_type=loss_type, epsilon_low=EPSILON,
                  epsilon_high=EPSILON, use_vllm=False, current_gradient_accumulation_steps=1,
                  _entropy_bonus_enabled=False)  # fmt: skip
    one._get_per_token_logps_and_entropies = MethodType(
        GRPOTrainer._get_per_token_logps_and_entropies.__wrapped__, one
    )
    longest = max(len(each.prompt) for each in TRIPLES), max(len(each.chosen) for each in TRIPLES)
    masks = [[int(at >= longest[0] - len(each.prompt)) for at in range(longest[0])] for each in TRIPLES]
    answered = [[int(at < len(each.chosen)) for at in range(longest[1])] for each in TRIPLES]
    prompts = [[0] * (longest[0] - len(each.prompt)) + each.prompt for each in TRIPLES]
    answers = [each.chosen + [0] * (longest[1] - len(each.chosen)) for each in TRIPLES]
    inputs = {
        "prompt_ids": torch.tensor(prompts),
        "prompt_mask": torch.tensor(masks),
        "completion_ids": torch.tensor(answers),
        "completion_mask": torch.tensor(answered),
        "advantages": torch.from_numpy(ADVANTAGES),
        "num_items_in_batch": torch.tensor(float(sum(len(each.chosen) for each in TRIPLES))),
    }  # fmt: skip
    ids, mask = (
        torch.cat([inputs[f"prompt_{each}"], inputs[f"completion_{each}"]], dim=1) for each in ("ids", "mask")
    )
    with torch.no_grad():
        now = one._get_per_token_logps_and_entropies(model, ids, mask, longest[1])[0]
        with model.disable_adapter():
            inputs["ref_per_token_logps"] = one._get_per_token_logps_and_entropies(
                model, ids, mask, longest[1]
            )[0]
    moved = torch.zeros_like(now)
    for row, values in enumerate(OLD):
        moved[row, : len(values)] = torch.from_numpy(values)
    inputs["old_per_token_logps"] = now - moved
    return model, GRPOTrainer._compute_loss(one, model, inputs), one._metrics["train"]


def distill(name: str) -> tuple[peft.PeftModel, torch.Tensor, dict]:
    """The student with LoRA, its teacher without."""
    model = adapted(name)
    inputs = padded([(each.prompt, each.chosen) for each in TRIPLES])
    labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
    asked = {"input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"]}
    with torch.no_grad(), model.disable_adapter():
        taught = model(**asked).logits
    loss = GKDTrainer.generalized_jsd_loss(
        model(**asked).logits[:, :-1], taught[:, :-1], labels[:, 1:], beta=0.0, temperature=TEMPERATURE
    )
    return model, loss, {}


MADE = {
    "dpo-sigmoid": lambda name: dpo(name, "sigmoid"),
    "dpo-robust": lambda name: dpo(name, "robust"),
    "dpo-ipo": lambda name: dpo(name, "ipo"),
    "orpo": orpo,
    "kto": kto,
    "grpo-dapo": lambda name: grpo(name, "dapo"),
    "grpo-grpo": lambda name: grpo(name, "grpo"),
    "distill": distill,
}


def record(name: str) -> None:
    values: dict[str, np.ndarray] = {}
    for objective, make in MADE.items():
        model, loss, figures = make(name)
        loss.backward()
        for key, each in model.named_parameters():
            if each.requires_grad and any(part in key for part in KEPT):
                values[f"{objective}|{key.replace('.default', '')}"] = each.grad.numpy()
        means = {
            key: float(np.mean(each))
            for key, each in figures.items()
            if key.startswith(WANTED) or key == "log_odds_chosen"
        }
        values[f"{objective}|loss"] = np.float32(loss.item())
        values[f"{objective}|figures"] = np.array(json.dumps(means))
        print(name, objective, loss.item(), means)
    np.savez_compressed(GOLDENS / f"trl-{name}.npz", **values)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for case in CASES:
        record(case)
