"""TRL as a second backend: its trainers, in this process, on the tokens and masks that were prepared here.

For what is not written here (reward models), and to compare with what is. It keeps no checkpoints of ours:
such a run does not go on after it was killed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from fairway.errors import MissingExtra, UnsupportedError
from fairway.formats.bundle import Bundle
from fairway.tune.lora_targets import ALL
from fairway.tune.recipe import Recipe

if TYPE_CHECKING:
    from fairway.tune.encode import Example
    from fairway.tune.objectives.pairs import Pair

INSTALL = "pip install 'fairway[trl]'"
REWARD_MODEL = "reward-model"
Tell: TypeAlias = Callable[[Mapping[str, Any]], None]
SAME = (
    "num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps", "lr_scheduler_type",
    "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm", "seed", "bf16",
    "gradient_checkpointing",
)  # fmt: skip
"""Settings that TRL knows by the same name."""


@dataclass(frozen=True)
class TrlRun:
    """What is trained, and where it goes."""

    bundle: Bundle
    recipe: Recipe
    examples: Sequence[Any]
    held_out: Sequence[Any]
    folder: Path
    tell: Tell
    """Hears TRL's own log lines, with `step`."""


def require_trl() -> None:
    """Raises `MissingExtra`."""
    missing = [name for name in ("trl", "peft", "transformers") if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtra(
            f"--backend trl needs {missing[0]}, which is not installed.", hint=f"Run: {INSTALL}."
        )


def train_with_trl(run: TrlRun) -> Path:
    """Trains from beginning to end; the folder of the result."""
    if run.bundle.container == "gguf" or not run.bundle.path.is_dir():
        raise UnsupportedError(
            f"TRL opens folders of safetensors, and {run.bundle.path} is none.", hint="Leave --backend out."
        )
    return TRAINED[str(run.recipe.objective)](run)


def _sft(run: TrlRun) -> Path:
    from trl import SFTConfig, SFTTrainer

    return _run(run, SFTTrainer, SFTConfig(**_settings(run), max_length=None), _example)


def _dpo(run: TrlRun) -> Path:
    from trl import DPOConfig, DPOTrainer

    class Prepared(DPOTrainer):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: object, *_: object) -> object:
            return dataset

    recipe = run.recipe
    config = DPOConfig(
        **_settings(run),
        beta=recipe.strength,
        loss_type=[recipe.loss],
        label_smoothing=recipe.label_smoothing,
        max_length=None,
    )
    return _run(run, Prepared, config, _pair)


def _reward(run: TrlRun) -> Path:
    from trl import RewardConfig, RewardTrainer

    return _run(run, RewardTrainer, RewardConfig(**_settings(run), max_length=None), _whole_pair)


TRAINED: dict[str, Callable[[TrlRun], Path]] = {"sft": _sft, "dpo": _dpo, "reward": _reward}


def _run(run: TrlRun, trainer: Any, config: Any, row: Callable[[Any], dict[str, Any]]) -> Path:  # noqa: ANN401
    import datasets
    import peft
    import transformers

    recipe, is_reward = run.recipe, run.recipe.objective == "reward"
    tokenizer = transformers.AutoTokenizer.from_pretrained(run.bundle.path)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    lora = peft.LoraConfig(
        r=recipe.r,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        use_rslora=recipe.use_rslora,
        target_modules=ALL if recipe.target_modules == (ALL,) else list(recipe.target_modules),
        task_type="SEQ_CLS" if is_reward else "CAUSAL_LM",
    )
    made = trainer(
        model=str(run.bundle.path),
        args=config,
        train_dataset=datasets.Dataset.from_list([row(each) for each in run.examples]),
        eval_dataset=datasets.Dataset.from_list([row(each) for each in run.held_out]) or None,
        processing_class=tokenizer,
        peft_config=lora if recipe.method == "lora" else None,
        callbacks=[_callback(run.tell)],
    )
    made.train()
    return _save(run, made.model, tokenizer)


def _save(run: TrlRun, model: Any, tokenizer: Any) -> Path:  # noqa: ANN401
    """An adapter; a reward model whole, for its head is new."""
    is_adapter = run.recipe.method == "lora" and run.recipe.objective != "reward"
    name = "adapter" if is_adapter else REWARD_MODEL if run.recipe.objective == "reward" else "model"
    path = run.folder / name
    if run.recipe.method == "lora" and not is_adapter:
        model = model.merge_and_unload()
    model.save_pretrained(path)
    if not is_adapter:
        tokenizer.save_pretrained(path)
    return path


def _settings(run: TrlRun) -> dict[str, Any]:
    recipe = run.recipe
    return {name: getattr(recipe, name) for name in SAME} | {
        "output_dir": str(run.folder / "trl"),
        "learning_rate": recipe.rate,
        "max_steps": -1 if recipe.max_steps is None else recipe.max_steps,
        "warmup_steps": recipe.warmup_steps or recipe.warmup_ratio,
        "eval_strategy": "epoch" if run.held_out else "no",
        "save_strategy": "no",
        "logging_steps": 1,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "model_init_kwargs": {"dtype": "float32"},
    }


def _callback(tell: Tell) -> Any:  # noqa: ANN401
    from transformers import TrainerCallback

    class Telling(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ANN401, ARG002
            if logs and "loss" in logs:
                tell({"step": state.global_step, "num_steps": state.max_steps, **logs})

    return Telling()


def _example(example: Example) -> dict[str, Any]:
    return {"input_ids": example.ids.tolist(), "labels": example.labels.tolist()}


def _pair(pair: Pair) -> dict[str, Any]:
    start = min(int(each.learned.argmax()) for each in pair.sequences)
    chosen, rejected = (each.ids.tolist() for each in pair.sequences)
    return {"prompt_ids": chosen[:start], "chosen_ids": chosen[start:], "rejected_ids": rejected[start:]}


def _whole_pair(pair: Pair) -> dict[str, Any]:
    return {"chosen_ids": pair.chosen.ids.tolist(), "rejected_ids": pair.rejected.ids.tolist()}
