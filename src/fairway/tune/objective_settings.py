"""Objectives as recipes name them: what rows each learns from, and which settings are its own. No PyTorch.

The rule: a setting of another objective is refused by name, never ignored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Literal

from fairway.errors import SettingsError, UnsupportedError
from fairway.settings import flag_name
from fairway.tune.settings import Learn

Objective = Literal["sft", "dpo", "orpo", "kto", "grpo", "distill", "reward"]
Backend = Literal["native", "trl"]
PACKING = ("packing", "packing_strategy", "length_stages")


@dataclasses.dataclass(frozen=True)
class ObjectiveSettings:
    """Rates and strengths are TRL's; an adapter takes ten times the rate of all weights."""

    what: str
    shapes: tuple[str, ...]
    """Of `shapes.Shape.objective`, that it learns from."""
    own: tuple[str, ...] = ()
    """Names of the settings that only some objectives know."""
    lora_rate: float = 1e-5
    full_rate: float = 1e-6
    beta: float = 0.1
    losses: tuple[str, ...] = ()
    """Of `loss_type`; the first is the default."""
    learn: Learn | None = None
    """Which tokens count, where the objective decides it."""
    required: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Settings that must be there -> what is missing without them."""
    backends: tuple[Backend, ...] = ("native",)
    """Who can compute it; the first is the default."""


OBJECTIVES: dict[Objective, ObjectiveSettings] = {
    "sft": ObjectiveSettings(
        "answers and texts",
        ("text", "chat"),
        (*PACKING, "token_accuracy"),
        2e-4,
        5e-5,
        backends=("native", "trl"),
    ),
    "dpo": ObjectiveSettings(
        "preferences",
        ("preference",),
        ("beta", "loss_type", "label_smoothing"),
        losses=("sigmoid", "robust", "ipo"),
        backends=("native", "trl"),
    ),
    "orpo": ObjectiveSettings("preferences", ("preference",), ("beta",)),
    "kto": ObjectiveSettings(
        "answers that were judged, and preferences",
        ("kto", "preference"),
        ("beta", "desirable_weight", "undesirable_weight"),
    ),
    "grpo": ObjectiveSettings(
        "prompts, and answers by their prompts",
        ("prompt", "chat"),
        (
            "reward",
            "num_generations",
            "max_completion_length",
            "temperature",
            "beta",
            "epsilon",
            "num_iterations",
            "loss_type",
        ),
        beta=0.0,
        losses=("dapo", "grpo"),
        learn="last",
        required={"reward": "There is no reward to learn from"},
    ),
    "distill": ObjectiveSettings(
        "answers and texts",
        ("text", "chat"),
        ("teacher", "alpha", "temperature", *PACKING),
        required={"teacher": "There is no teacher to distill from"},
        lora_rate=2e-4,
        full_rate=5e-5,
    ),
    "reward": ObjectiveSettings("preferences", ("preference",), (), 1e-3, 1e-4, backends=("trl",)),
}
BY_SHAPE: dict[str, Objective] = {"text": "sft", "chat": "sft", "preference": "dpo", "kto": "kto"}
"""What is learned from rows of a shape where nothing is said."""


def objective_for(name: Objective | None, shape: str, described: str) -> Objective:
    """The objective that a recipe names, or that of the data's shape.

    `described`: "prefs.jsonl holds preference". Raises `UnsupportedError` where the two do not go together.
    """
    chosen = name or BY_SHAPE.get(shape)
    fitting = [each for each, settings in OBJECTIVES.items() if shape in settings.shapes]
    if chosen is not None and chosen in fitting:
        return chosen
    ours = [each for each in fitting if "native" in OBJECTIVES[each].backends]
    hint = f"It can be learned with --objective {' or '.join(ours)}."
    wanted = "" if chosen is None else f", and {chosen} learns from {OBJECTIVES[chosen].what}"
    raise UnsupportedError(f"{described}{wanted}.", hint=hint)


def check_own(objective: Objective, given: Collection[str]) -> None:
    """Raises `SettingsError` for a setting in `given` that belongs to other objectives only."""
    owned = {name for each in OBJECTIVES.values() for name in each.own}
    idle = [name for name in given if name in owned - set(OBJECTIVES[objective].own)]
    if idle:
        owners = ", ".join(name for name, each in OBJECTIVES.items() if idle[0] in each.own)
        raise SettingsError(
            f"{flag_name(idle[0])} has no meaning with --objective {objective}.",
            hint=f"Leave it out; it belongs to {owners}.",
        )
