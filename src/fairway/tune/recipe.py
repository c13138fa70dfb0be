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
from fairway.settings import checked_table, flag_name, read_table, setting
from fairway.tune.gate_settings import MAX_TOKENS, METRIC, GateSettings
from fairway.tune.length_stages import read_stage
from fairway.tune.lora_targets import ALL, LoraSettings
from fairway.tune.objective_settings import (
    OBJECTIVES,
    Objective,
    ObjectiveSettings,
    check_own,
)
from fairway.tune.recipe_checks import check_recipe
from fairway.tune.settings import DataSettings
from fairway.tune.training_arguments import translated

LORA_RATE, FULL_RATE = OBJECTIVES["sft"].lora_rate, OBJECTIVES["sft"].full_rate
PREFIX_RATE = 1e-2
FILE_NAME = "recipe.toml"
NATIVE_ONLY = ("init", "optim", "packing_strategy", "length_stages", "num_decay_steps")
"""Settings that TRL's trainers are not told."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The default of every field is what most people want; None is explained by its help."""

    method: Literal["lora", "qlora", "prefix", "full"] = setting(
        "lora",
        "train an adapter beside the weights, beside weights held in 4 bits, keys and values before the "
        "first token, or all weights",
    )
    objective: Literal["sft", "dpo", "orpo", "kto", "grpo", "distill", "reward"] | None = setting(
        None, "what is learned; unset: sft for answers and texts, dpo for preferences, kto for judged answers"
    )
    backend: Literal["native", "trl"] = setting(
        "native", "who computes it; trl drives TRL's trainers: sft, dpo and reward (a reward model)"
    )
    init: Literal["model", "random", "random_fan_in"] = setting(
        "model",
        "begin with the model's weights, or from nothing with its config and tokenizer (--method full): "
        "random as transformers has it, or random_fan_in: 1/sqrt(inputs) in layers, 0 where they add to the "
        "residual stream",
    )
    optim: Literal["adamw_torch", "adamw_torch_fused", "adamw_hf", "muon"] = setting(
        "adamw_torch", "AdamW, or Muon for the matrices of layers and AdamW for the rest (--method full)"
    )
    muon_learning_rate: float = setting(0.02, "Muon's highest step size; AdamW's is learning_rate", minimum=0)
    muon_momentum: float = setting(0.95, "Muon's momentum", minimum=0, maximum=1)
    learning_rate: float | None = setting(
        None,
        f"highest step size; unset: {LORA_RATE:g}, for prefix {PREFIX_RATE:g}, for full {FULL_RATE:g}; "
        "1e-5 and for full 1e-6 for objectives that compare answers",
        minimum=0,
    )
    num_train_epochs: float = setting(3.0, "how often every example is seen", minimum=0)
    max_steps: int | None = setting(None, "stop after so many updates, whatever the epochs", minimum=1)
    per_device_train_batch_size: int = setting(8, "examples (or packs) computed at once", minimum=1)
    gradient_accumulation_steps: int = setting(1, "batches that make one update", minimum=1)
    packing: bool = setting(False, "join examples to sequences of max_length; they do not see each other")
    packing_strategy: Literal["bfd", "wrapped"] = setting(
        "bfd",
        "bfd keeps examples whole; wrapped joins them end to end and cuts windows of max_length from that",
    )
    length_stages: tuple[str, ...] = setting(
        (),
        "shorter windows at first, as LENGTH:SHARE of the updates, like 256:0.66; then those of max_length; "
        "a batch keeps its number of tokens",
    )
    warmup_ratio: float = setting(0.0, "share of the updates that warm up", minimum=0, maximum=1)
    warmup_steps: int = setting(0, "updates that warm up; overrides warmup_ratio", minimum=0)
    lr_scheduler_type: Literal[
        "linear", "cosine", "constant", "constant_with_warmup", "warmup_stable_decay"
    ] = setting("linear", "how the step size falls after the warm-up")
    num_decay_steps: int | None = setting(
        None, "last updates, in which warmup_stable_decay lets the step size fall", minimum=1
    )
    decay_type: Literal["linear", "cosine", "1-sqrt"] = setting("cosine", "how warmup_stable_decay falls")
    min_lr_ratio: float = setting(
        0.0, "share of the step size that warmup_stable_decay begins and ends with", minimum=0, maximum=1
    )
    weight_decay: float = setting(
        0.0, "decay of matrices and tables, with muon of layers' matrices only", minimum=0
    )
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
    token_accuracy: bool = setting(False, "also count how often the likeliest token is the right one")
    early_stopping_patience: int | None = setting(
        None, "stop after so many measurements without a better held-out loss, and keep the best", minimum=1
    )
    save_steps: int = setting(500, "updates between two checkpoints", minimum=1)
    save_seconds: float = setting(600.0, "seconds after which a checkpoint is due in any case", minimum=0)
    keep_epochs: bool = setting(False, "keep the adapter of every epoch but the last in FOLDER/epochs")
    learn: Literal["assistant", "last", "all"] = setting(
        "assistant", "which tokens: the assistant's turns, its last turn, or all"
    )
    max_length: int | None = setting(None, "tokens of an example; unset: the model's context", minimum=8)
    too_long: Literal["refuse", "skip", "truncate"] = setting("refuse", "what becomes of longer examples")
    raw: bool = setting(False, "join prompt and completion as they are, without the chat template")
    beta: float | None = setting(
        None, "how strongly answers are held to the model's own; unset: 0.1, for grpo 0", minimum=0
    )
    loss_type: Literal["sigmoid", "robust", "ipo", "dapo", "grpo"] | None = setting(
        None, "of dpo: sigmoid, robust, ipo; of grpo: dapo, grpo; unset: the first"
    )
    label_smoothing: float = setting(
        0.0, "share of preferences that are wrong, for loss_type robust", minimum=0, maximum=0.49
    )
    desirable_weight: float = setting(1.0, "how much good answers count for kto", minimum=0)
    undesirable_weight: float = setting(1.0, "how much bad answers count for kto", minimum=0)
    teacher: str | None = setting(None, "model of the same vocabulary to distill from")
    alpha: float = setting(0.5, "share of cross entropy beside the teacher's", minimum=0, maximum=1)
    temperature: float = setting(1.0, "logits are divided by it, to distill and to sample", minimum=0.01)
    reward: tuple[str, ...] = setting(
        (), "of grpo, added up: FILE.py:FUNCTION, exact_match, regex:PATTERN, json or length:TOKENS"
    )
    num_generations: int = setting(8, "answers to each prompt that grpo compares", minimum=2)
    max_completion_length: int = setting(512, "tokens of an answer that grpo samples", minimum=1)
    epsilon: float = setting(0.2, "how far grpo may move a token's probability", minimum=0, maximum=1)
    num_iterations: int = setting(1, "updates that grpo makes of the same answers", minimum=1)
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
        if self.method == "prefix":
            return PREFIX_RATE
        return self.of_objective.full_rate if self.method == "full" else self.of_objective.lora_rate

    @property
    def begins_anew(self) -> bool:
        return self.init != "model"

    @property
    def is_wrapped(self) -> bool:
        """Whether windows are learned, not whole examples."""
        return self.packing_strategy == "wrapped"

    @property
    def stage_lengths(self) -> tuple[int, ...]:
        """Of `length_stages`."""
        return tuple(length for length, _ in map(read_stage, self.length_stages))

    @property
    def stage_shares(self) -> tuple[float, ...]:
        """Of `length_stages`."""
        return tuple(share for _, share in map(read_stage, self.length_stages))

    @property
    def recomputes_layers(self) -> bool:
        return self.method == "qlora" if self.gradient_checkpointing is None else self.gradient_checkpointing

    @property
    def of_objective(self) -> ObjectiveSettings:
        return OBJECTIVES[self.objective or "sft"]

    @property
    def strength(self) -> float:
        """beta"""
        return self.of_objective.beta if self.beta is None else self.beta

    @property
    def loss(self) -> str:
        """loss_type"""
        return self.loss_type or self.of_objective.losses[0]

    @property
    def lora(self) -> LoraSettings:
        return LoraSettings(self.r, self.lora_alpha, self.lora_dropout, self.use_rslora, self.target_modules)

    @property
    def data(self) -> DataSettings:
        too_long = "keep" if self.is_wrapped else self.too_long
        return DataSettings(self.of_objective.learn or self.learn, self.max_length, too_long, self.raw)

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
    check_recipe(recipe)
    return recipe


def with_objective(recipe: Recipe, objective: Objective) -> Recipe:
    """The recipe for one objective. Raises `SettingsError` for settings that mean nothing to it."""
    defaults = Recipe()
    check_own(
        objective,
        [name for name, value in dataclasses.asdict(recipe).items() if value != getattr(defaults, name)],
    )
    made = dataclasses.replace(recipe, objective=objective)
    if made.backend not in made.of_objective.backends:
        raise SettingsError(
            f"{objective} is not computed by --backend {made.backend}.",
            hint=f"Use --backend {' or '.join(made.of_objective.backends)}.",
        )
    losses = made.of_objective.losses
    if made.loss_type is not None and made.loss_type not in losses:
        raise SettingsError(
            f"loss_type {made.loss_type} is not of {objective}.", hint=f"There are: {', '.join(losses)}."
        )
    if made.label_smoothing and made.loss != "robust":
        raise SettingsError(
            "label_smoothing has no meaning without loss_type robust.", hint="Add --loss-type robust."
        )
    for name, missing in made.of_objective.required.items():
        if not getattr(made, name):
            raise SettingsError(f"{missing}.", hint=f"Name one with {flag_name(name)}.")
    native = [name for name in NATIVE_ONLY if getattr(made, name) != getattr(defaults, name)]
    if made.backend == "trl" and native:
        raise SettingsError(
            f"{flag_name(native[0])} has no meaning with --backend trl.", hint="Use --backend native."
        )
    if made.backend == "trl" and (made.use_dora or made.method not in ("lora", "full")):
        raise SettingsError(
            f"--backend trl trains LoRA or all weights, and not {'DoRA' if made.use_dora else made.method}.",
            hint="Use --backend native.",
        )
    if "num_generations" in made.of_objective.own:
        _check_sampled(made)
    return made


def _check_sampled(recipe: Recipe) -> None:
    if recipe.init == "random":
        raise SettingsError(
            f"{recipe.objective} rewards what the model answers, and from scratch it can say nothing.",
            hint="Leave init out.",
        )
    answers = recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps
    if answers % recipe.num_generations:
        raise SettingsError(
            f"An update has {answers} answers, which groups of {recipe.num_generations} do not fill.",
            hint="Make per_device_train_batch_size * gradient_accumulation_steps a multiple of them.",
        )
