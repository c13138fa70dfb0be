"""Names of transformers' `TrainingArguments`, TRL and PEFT that are no settings here: what becomes of each.

A table. Another name for a setting is that setting; a value that says what is done here anyway is accepted;
anything else is refused in a sentence that says what to use. The rule: none is ignored silently.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairway.errors import SettingsError


@dataclass(frozen=True)
class Fixed:
    """Only these values mean what is done here; `instead` says what to use in place of others."""

    values: tuple[Any, ...]
    instead: str


RENAMED = {
    "max_seq_length": "max_length",
    "per_gpu_train_batch_size": "per_device_train_batch_size",
}
"""Another name -> the setting that it is."""
SCHEDULER = "lr_scheduler_kwargs"
SCHEDULED = ("num_decay_steps", "decay_type", "min_lr_ratio", "warmup_type", "num_stable_steps", "num_cycles")
"""What may be in it, each of which is a name of its own here."""
ONE_GPU = "This version trains on one device."
FIGURES = "Every update's figures are in metrics.jsonl."
DATA_SEED = "seed decides the order as well; leave it out."
HUB = "Upload the result yourself once it is there."
FIXED: Mapping[str, Fixed] = {
    "fp16": Fixed((False,), "Use bf16 = true, which needs no loss scaling, or leave it out."),
    "tf32": Fixed((False, None), "Leave it out, or use bf16 = true."),
    "bf16_full_eval": Fixed((False,), "Held-out loss is computed as training is; leave it out."),
    "fp16_full_eval": Fixed((False,), "Held-out loss is computed as training is; leave it out."),
    "fp16_opt_level": Fixed(("O1",), "Use bf16 = true, or leave it out."),
    "logging_strategy": Fixed(("steps",), FIGURES),
    "logging_steps": Fixed((1,), FIGURES + " Leave logging_steps out."),
    "logging_first_step": Fixed((True, False), FIGURES),
    "logging_nan_inf_filter": Fixed((False,), "A loss that is no number ends the run with a sentence."),
    "logging_dir": Fixed((), "Figures are in the run's folder; for another place use report_to."),
    "run_name": Fixed((), "A run is named after its folder: --out NAME."),
    "output_dir": Fixed((), "Say it as --out FOLDER."),
    "overwrite_output_dir": Fixed((False,), "Name another folder with --out, or remove the old one."),
    "resume_from_checkpoint": Fixed((False, None), "Use --resume, which finds the last checkpoint."),
    "do_train": Fixed((True,), "Use --check or --dry-run to train nothing."),
    "do_eval": Fixed((), "Held-out data is measured when it is named: --validation FILE."),
    "do_predict": Fixed((False,), "Use fairway gate DATA MODEL."),
    "eval_strategy": Fixed((), "Set eval_steps; without it held-out loss is measured each epoch."),
    "evaluation_strategy": Fixed((), "Set eval_steps; without it held-out loss is measured each epoch."),
    "eval_delay": Fixed((0,), "Set eval_steps."),
    "eval_on_start": Fixed((True,), "Held-out loss is measured before the first update; leave it out."),
    "eval_accumulation_steps": Fixed((None,), "Logits of a held-out set are never kept; leave it out."),
    "per_device_eval_batch_size": Fixed((), "Held-out examples are batched by their tokens; leave it out."),
    "metric_for_best_model": Fixed(("loss", "eval_loss"), "The best is that of the lowest held-out loss."),
    "greater_is_better": Fixed((False, None), "The best is that of the lowest held-out loss."),
    "load_best_model_at_end": Fixed(
        (), "early_stopping_patience keeps the best; without it the last is kept."
    ),
    "save_strategy": Fixed(("steps",), "Set save_steps and save_seconds."),
    "save_total_limit": Fixed((2,), "The last two checkpoints are kept while it runs; leave it out."),
    "save_safetensors": Fixed((True,), "Nothing is pickled here; leave it out."),
    "save_only_model": Fixed((False,), "A checkpoint must be one that training can go on from."),
    "save_on_each_node": Fixed((False,), ONE_GPU),
    "lr_scheduler_kwargs": Fixed(({}, None), "Choose lr_scheduler_type, warmup_ratio and warmup_steps."),
    "warmup_type": Fixed(("linear",), "It is linear; leave it out."),
    "num_stable_steps": Fixed((), "It is what max_steps leaves between warm-up and decay; leave it out."),
    "num_cycles": Fixed((0.5,), "It is half a wave; leave it out."),
    "gradient_checkpointing_kwargs": Fixed(
        ({}, None, {"use_reentrant": False}), "It is not reentrant here; leave it out."
    ),
    "neftune_noise_alpha": Fixed((None, 0, 0.0), "Noise on embeddings is not offered; use lora_dropout."),
    "label_smoothing_factor": Fixed((0, 0.0), "Labels are not smoothed; leave it out."),
    "group_by_length": Fixed((False,), "Nothing is padded here, so that it has no use; leave it out."),
    "length_column_name": Fixed((), "Nothing is padded here, so that it has no use; leave it out."),
    "auto_find_batch_size": Fixed((False,), "Use --dry-run, which says the memory."),
    "data_seed": Fixed((None,), DATA_SEED),
    "full_determinism": Fixed((True, False), "The same seed gives the same bits on one machine."),
    "dataloader_num_workers": Fixed((0,), "Examples are tokenised before the first update; leave it out."),
    "dataloader_pin_memory": Fixed((True, False), "There is no data loader here; leave it out."),
    "dataloader_drop_last": Fixed((False,), "Every example is learned; leave it out."),
    "dataloader_persistent_workers": Fixed((False,), "There is no data loader here; leave it out."),
    "dataloader_prefetch_factor": Fixed((None,), "There is no data loader here; leave it out."),
    "remove_unused_columns": Fixed((True,), "Columns that are no part of an example are not read."),
    "label_names": Fixed((None,), "What is learned is chosen with learn."),
    "use_cpu": Fixed((), "The GPU is used where there is one; hide it with CUDA_VISIBLE_DEVICES."),
    "no_cuda": Fixed((), "The GPU is used where there is one; hide it with CUDA_VISIBLE_DEVICES."),
    "local_rank": Fixed((-1, 0), ONE_GPU),
    "deepspeed": Fixed((None,), ONE_GPU),
    "fsdp": Fixed(("", None), ONE_GPU),
    "fsdp_config": Fixed((None,), ONE_GPU),
    "ddp_backend": Fixed((None,), ONE_GPU),
    "ddp_find_unused_parameters": Fixed((None, False), ONE_GPU),
    "ddp_bucket_cap_mb": Fixed((None,), ONE_GPU),
    "ddp_timeout": Fixed((1800,), ONE_GPU),
    "torch_compile": Fixed((False,), "It is not compiled in this version; leave it out."),
    "push_to_hub": Fixed((False,), HUB),
    "hub_model_id": Fixed((None,), HUB),
    "hub_token": Fixed((None,), HUB),
    "disable_tqdm": Fixed((True, False), "Use --json for no progress at all."),
    "log_level": Fixed(("passive",), "Use --json for no progress at all."),
    "prediction_loss_only": Fixed((True, False), "Held-out data gives a loss; use --gate for answers."),
    "assistant_only_loss": Fixed((True,), 'Say learn = "all" to learn every turn.'),
    "completion_only_loss": Fixed((True,), 'Say learn = "all" to learn every turn.'),
    "eos_token": Fixed((), "It is the model's own, from its tokenizer."),
    "pad_token": Fixed((), "Nothing is padded here."),
    "dataset_text_field": Fixed(("text",), "Name the column text."),
    "eval_packing": Fixed((False,), "Held-out examples are never packed; leave it out."),
    "bias": Fixed(("none",), "LoRA trains no biases in this version; use --method full."),
    "task_type": Fixed(("CAUSAL_LM",), "Only language models are trained."),
    "modules_to_save": Fixed((None, ()), "Use --method full to train whole tensors."),
    "init_lora_weights": Fixed((True,), "LoRA begins as PEFT's default does; leave it out."),
}
"""A name -> the values that change nothing here, and what to use for others."""


def translated(table: Mapping[str, Any], known: Collection[str], where: str) -> dict[str, Any]:
    """The same settings under our names. Raises `SettingsError` for what cannot be honoured."""
    found: dict[str, Any] = {}
    for key, value in _opened(table, where).items():
        name = RENAMED.get(key, key)
        if name not in known and name in FIXED:
            _check(name, value, where)
            continue
        if name in found or (name != key and name in table):
            raise SettingsError(f"{key} {where} is another name of {name}, which is given too.", param=key)
        found[name] = value
    return found


def _opened(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """With what the scheduler's table holds beside the rest. Raises `SettingsError`."""
    inner = table.get(SCHEDULER)
    if not isinstance(inner, Mapping):
        return dict(table)
    for key in inner:
        if key not in SCHEDULED or key in table:
            said = "is given beside it too" if key in table else "is not known"
            raise SettingsError(
                f"{key} of {SCHEDULER} {where} {said}.", hint=f"Known: {', '.join(SCHEDULED)}."
            )
    return {key: value for key, value in table.items() if key != SCHEDULER} | dict(inner)


def without_foreign(args: Sequence[str], known: Collection[str]) -> list[str]:
    """A command line in our spelling: --max_steps is --max-steps; names of the table are judged and gone."""
    found, rest = [], list(args)
    while rest:
        flag, has_value, value = rest.pop(0).partition("=")
        if not flag.startswith("--"):
            found.append(flag + has_value + value)
            continue
        name = flag[2:].replace("-", "_")
        if name in known or name not in FIXED:
            name = RENAMED.get(name, name)
            found.append("--" + name.replace("_", "-") + has_value + value)
            continue
        if not has_value:
            value = rest.pop(0) if rest and _is_value(name, rest[0]) else "true"
        parsed = _parsed(value)
        if name == SCHEDULER and isinstance(parsed, Mapping):
            opened = _opened({name: parsed}, "on the command line").items()
            rest = [f"--{key}={each}" for key, each in opened] + rest
            continue
        _check(name, parsed, "on the command line")
    return found


def _is_value(name: str, text: str) -> bool:
    """Whether what follows a flag belongs to it; switches stand alone or before true or false."""
    values = [each for each in FIXED[name].values if each is not None]
    is_switch = bool(values) and all(isinstance(each, bool) for each in values)
    return text.lower() in ("true", "false") or (not is_switch and not text.startswith("--"))


def _parsed(text: str) -> object:
    try:
        return json.loads(text.lower() if text.lower() in ("true", "false") else text)
    except ValueError:
        return None if text.lower() == "none" else text


def _check(name: str, value: object, where: str) -> None:
    """Raises `SettingsError` for a value that is not what is done here anyway."""
    plain = tuple(value) if isinstance(value, list) else value
    if not any(each == plain and type(each) is type(plain) for each in FIXED[name].values):
        raise SettingsError(
            f"{name} {where} is {value!r}, which cannot be done here.", hint=FIXED[name].instead, param=name
        )
