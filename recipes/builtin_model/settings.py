"""Every number of shape and data, read from data.toml into frozen dataclasses.

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

RECIPE_FILE = Path(__file__).with_name("data.toml")


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


@dataclass(frozen=True)
class TextPlan:
    """What is read, what is held out, and how often stories are repeated within one epoch."""

    held_out_books: tuple[str, ...]
    measured_characters: int
    held_out_story_share: float
    story_repeats: int
    keep_crlf_every: int


@dataclass(frozen=True)
class ConversationPlan:
    """What the second pass learns, in tokens of the model."""

    seed: int
    num_tokens: int
    length: int
    plain_text_share: float
    story_share: float
    greeting_share: float


@dataclass(frozen=True)
class Recipe:
    """What is made before anything is trained."""

    model: ModelShape
    text: TextPlan
    conversations: ConversationPlan


def load_recipe(path: Path = RECIPE_FILE) -> Recipe:
    """Read a recipe; raises TypeError for unknown or missing keys."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return Recipe(
        model=ModelShape(**tables["model"]),
        text=TextPlan(**_tuples(tables["text"])),
        conversations=ConversationPlan(**tables["conversations"]),
    )


def _tuples(table: dict[str, object]) -> dict:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
