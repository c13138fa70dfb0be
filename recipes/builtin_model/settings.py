"""Every number of the recipe, read from recipe.toml into frozen dataclasses.

The file is the only place where a value is written; an unknown or missing key is an error.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RECIPE_FILE = Path(__file__).with_name("recipe.toml")


@dataclass(frozen=True)
class ModelShape:
    """The Llama architecture in the terms of config.json."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    max_position_embeddings: int
    rope_theta: float
    rms_norm_eps: float

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads


@dataclass(frozen=True)
class TextPlan:
    """What is read, what is held out, and how often stories are repeated within one epoch."""

    held_out_books: tuple[str, ...]
    held_out_story_share: float
    story_repeats: int
    keep_crlf_every: int


@dataclass(frozen=True)
class TrainPlan:
    """The pre-training run. Lengths are in tokens, `budget_s` is time spent in steps."""

    seed: int
    budget_s: float
    tokens_per_step: int
    tokens_per_micro_batch: int
    lengths: tuple[int, ...]
    length_shares: tuple[float, ...]
    warmup_share: float
    decay_share: float
    muon_lr: float
    adam_lr: float
    weight_decay: float
    checkpoint_every_s: float
    evaluate_every_s: float


@dataclass(frozen=True)
class InstructPlan:
    """The supervised pass after pre-training."""

    seed: int
    steps: int
    tokens_per_step: int
    tokens_per_micro_batch: int
    length: int
    muon_lr: float
    adam_lr: float
    plain_text_share: float
    story_share: float
    greeting_share: float


@dataclass(frozen=True)
class Recipe:
    model: ModelShape
    text: TextPlan
    train: TrainPlan
    instruct: InstructPlan


def load_recipe(path: Path = RECIPE_FILE) -> Recipe:
    """Read a recipe; raises TypeError for unknown or missing keys."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return Recipe(
        model=ModelShape(**tables["model"]),
        text=TextPlan(**_tuples(tables["text"])),
        train=TrainPlan(**_tuples(tables["train"])),
        instruct=InstructPlan(**tables["instruct"]),
    )


def _tuples(table: dict[str, object]) -> dict:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
