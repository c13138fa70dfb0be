"""LoRA with transformers' Trainer and PEFT: MODEL ROWS RECIPE OUT, a line of figures per update into OUT."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import tomllib
import torch
from peft import LoraConfig, get_peft_model
from torch.utils.data import SequentialSampler
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments


class InOrder(Trainer):
    """Rows as they come, so that both programs see the same in each update."""

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:  # noqa: ANN401
        return SequentialSampler(train_dataset or self.train_dataset)


class Figures(TrainerCallback):
    """Losses, as they are logged, and when each update ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.losses: list[float] = []

    def on_train_begin(self, *_: object, **__: object) -> None:
        self.ends.append(time.perf_counter())

    def on_step_end(self, *_: object, **__: object) -> None:
        self.ends.append(time.perf_counter())

    def on_log(self, *_: object, logs: dict[str, float], **__: object) -> None:
        if "loss" in logs:
            self.losses.append(logs["loss"])


def padded(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """To the longest row, as transformers' collators do."""
    longest = max(len(row["input_ids"]) for row in rows)
    fills = {"input_ids": 0, "labels": -100}
    batch = {
        key: torch.tensor([row[key] + [fill] * (longest - len(row[key])) for row in rows])
        for key, fill in fills.items()
    }
    mask = [[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in rows]
    return batch | {"attention_mask": torch.tensor(mask)}


def main() -> None:
    model, rows, settings, out = map(Path, sys.argv[1:5])
    recipe = tomllib.loads(settings.read_text("utf-8"))
    data = json.loads(rows.read_text("utf-8"))
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    lora = LoraConfig(
        r=recipe["r"], lora_alpha=recipe["lora_alpha"], target_modules="all-linear", task_type="CAUSAL_LM"
    )
    names = ("max_steps", "per_device_train_batch_size", "learning_rate", "lr_scheduler_type", "bf16")
    torch.manual_seed(recipe["seed"])
    arguments = TrainingArguments(
        output_dir=str(out.parent / "trainer"),
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        use_cpu=not torch.cuda.is_available(),
        dataloader_num_workers=0,
        disable_tqdm=True,
        **{name: recipe[name] for name in names},
    )
    figures = Figures()
    trainer = InOrder(
        get_peft_model(base, lora), arguments, train_dataset=data, data_collator=padded, callbacks=[figures]
    )
    trainer.train()
    seconds = [after - before for before, after in zip(figures.ends, figures.ends[1:], strict=False)]
    lines = [{"loss": loss, "seconds": each} for loss, each in zip(figures.losses, seconds, strict=True)]
    out.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")


if __name__ == "__main__":
    main()
