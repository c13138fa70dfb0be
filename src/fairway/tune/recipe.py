"""What a user chooses about training. Light to import: flags are made from it.

Names and defaults are those of transformers' `TrainingArguments`, TRL and PEFT where the meaning is the same.

A recipe file is flat TOML with these names. The rule: a name is known or an error; none is ignored.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from fairway.errors import SettingsError
from fairway.settings import checked_table, read_table, setting
from fairway.tune.gate_settings import MAX_TOKENS, METRIC, GateSettings
from fairway.tune.lora_targets import ALL, LoraSettings
from fairway.tune.settings import DataSettings
from fairway.tune.training_arguments import translated

LORA_RATE, FULL_RATE = 2e-4, 5e-5
PREFIX_RATE = 1e-2
RATES = {"lora": LORA_RATE, "qlora": LORA_RATE, "prefix": PREFIX_RATE, "full": FULL_RATE}
FILE_NAME = "recipe.toml"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The default of every field is what most people want; None is explained by its help."""

    method: Literal["lora", "qlora", "prefix", "full"] = setting(
        "lora",
        "train an adapter beside the weights, beside weights held in 4 bits, keys and values before the "
        "first token, or all weights",
    )
    init: Literal["model", "random"] = setting(
        "model",
        "begin with the model's weights, or from scratch with its config and tokenizer (--method full)",
    )
    learning_rate: float | None = setting(
        None,
        f"highest step size; unset: {LORA_RATE:g}, for prefix {PREFIX_RATE:g}, for full {FULL_RATE:g}",
        minimum=0,
    )
    num_train_epochs: float = setting(3.0, "how often every example is seen", minimum=0)
    max_steps: int | None = setting(None, "stop after so many updates, whatever the epochs", minimum=1)
    per_device_train_batch_size: int = setting(8, "examples (or packs) computed at once", minimum=1)
    gradient_accumulation_steps: int = setting(1, "batches that make one update", minimum=1)
    packing: bool = setting(False, "join examples to sequences of max_length; they do not see each other")
    warmup_ratio: float = setting(0.0, "share of the updates that warm up", minimum=0, maximum=1)
    warmup_steps: int = setting(0, "updates that warm up; overrides warmup_ratio", minimum=0)
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = setting(
        "linear", "how the step size falls after the warm-up"
    )
    weight_decay: float = setting(0.0, "AdamW's decay, not for norms and biases", minimum=0)
    adam_beta1: float = setting(0.9, "AdamW's first beta", minimum=0, maximum=1)
    adam_beta2: float = setting(0.999, "AdamW's second beta", minimum=0, maximum=1)
    adam_epsilon: float = setting(1e-8, "AdamW's epsilon", minimum=0)
    max_grad_norm: float = setting(1.0, "gradients are clipped to this norm; 0 clips nothing", minimum=0)
    seed: int = setting(42, "of the order, of LoRA's beginning and of dropout", minimum=0)
    bf16: bool = setting(False, "multiply in bfloat16; norms, loss and trained weights stay float32")
    gradient_checkpointing: bool | None = setting(
        None, "compute layers twice: less memory, more time; unset: with qlora only"
    )
    r: int = setting(8, "rank of LoRA", minimum=1)
    lora_alpha: float = setting(8.0, "LoRA counts by alpha / r", minimum=0)
    lora_dropout: float = setting(0.0, "dropout before LoRA", minimum=0, maximum=0.99)
    use_rslora: bool = setting(False, "LoRA counts by alpha / sqrt(r)")
    use_dora: bool = setting(
        False, "train the lengths of the adapted weights' rows too; merge it to serve it"
    )
    target_modules: tuple[str, ...] = setting((ALL,), f"layers that LoRA adapts, like q_proj, or {ALL}")
    bnb_4bit_quant_type: Literal["nf4", "int4"] = setting("nf4", "values that qlora rounds weights to")
    bnb_4bit_use_double_quant: bool = setting(False, "qlora rounds the scales of its blocks as well")
    num_virtual_tokens: int = setting(20, "tokens of a prefix", minimum=1)
    eval_steps: int | None = setting(None, "measure held-out loss so often; unset: each epoch", minimum=1)
    early_stopping_patience: int | None = setting(
        None, "stop after so many measurements without a better held-out loss, and keep the best", minimum=1
    )
    save_steps: int = setting(500, "updates between two checkpoints", minimum=1)
    save_seconds: float = setting(600.0, "seconds after which a checkpoint is due in any case", minimum=0)
    learn: Literal["assistant", "last", "all"] = setting(
        "assistant", "which tokens: the assistant's turns, its last turn, or all"
    )
    max_length: int | None = setting(None, "tokens of an example; unset: the model's context", minimum=8)
    too_long: Literal["refuse", "skip", "truncate"] = setting("refuse", "what becomes of longer examples")
    raw: bool = setting(False, "join prompt and completion as they are, without the chat template")
    gate: bool = setting(False, "score model and result on the held-out data, through the serving engine")
    require: str | None = setting(
        None, "publish only above this bar, like exact_match>=0.8,stops>=0.95,loss<=2; implies gate"
    )
    metric: tuple[str, ...] = setting(
        (METRIC,), "of the gate: exact_match, contains, json or file.py:function"
    )
    gate_max_tokens: int = setting(
        MAX_TOKENS, "longest answer of the gate; a longer one did not stop", minimum=1
    )

    report_to: tuple[str, ...] = setting((), "tell mlflow or wandb what the run does; again for both")

    @property
    def rate(self) -> float:
        if self.learning_rate is not None:
            return self.learning_rate
        return RATES[self.method]

    @property
    def recomputes_layers(self) -> bool:
        return self.method == "qlora" if self.gradient_checkpointing is None else self.gradient_checkpointing

    @property
    def lora(self) -> LoraSettings:
        return LoraSettings(self.r, self.lora_alpha, self.lora_dropout, self.use_rslora, self.target_modules)

    @property
    def data(self) -> DataSettings:
        return DataSettings(self.learn, self.max_length, self.too_long, self.raw)

    @property
    def gate_settings(self) -> GateSettings | None:
        """None: nothing is scored."""
        if not self.gate and self.require is None:
            return None
        return GateSettings(self.metric, self.require, self.gate_max_tokens, None, self.data)

    def to_toml(self) -> str:
        """Every value as it is used; what is unset is left out."""
        values = dataclasses.asdict(self) | {"learning_rate": self.rate}
        return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items() if value is not None)


def _from_file(path: Path) -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(Recipe)]
    where = f"in {path}"
    return checked_table(Recipe, translated(read_table(path), names, where), where)


def read_recipe(path: Path | None, flags: Mapping[str, Any]) -> Recipe:
    """A recipe file, and flags that override it. Raises `SettingsError` naming the file and the key."""
    values = {} if path is None else _from_file(path)
    given = {key: value for key, value in flags.items() if value is not None and value != ()}
    recipe = Recipe(**values | checked_table(Recipe, given, "on the command line"))
    if recipe.num_train_epochs == 0 and recipe.max_steps is None:
        raise SettingsError("num_train_epochs is 0: nothing would be trained.", hint="Say 1 or more.")
    if recipe.init == "random" and recipe.method != "full":
        raise SettingsError(
            "init random begins from scratch: an adapter on nothing.", hint="Say --method full."
        )
    if recipe.gate_settings is not None and (recipe.use_dora or recipe.method == "prefix"):
        raise SettingsError(
            f"The gate asks an adapter as it is served; a {'DoRA' if recipe.use_dora else 'prefix'} is not.",
            hint="Leave gate and require out; a merged DoRA is scored by fairway gate.",
        )
    return recipe
