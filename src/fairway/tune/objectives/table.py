"""Which objectives there are: what rows each takes, what it makes of them, and who computes it.

To add one, add its file and a line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from fairway.tune.encode import Example
from fairway.tune.job import Job
from fairway.tune.objective_settings import Objective as Name
from fairway.tune.objectives.distill import Distill
from fairway.tune.objectives.dpo import Dpo
from fairway.tune.objectives.grpo import Grpo, prompts_per_update, question_of
from fairway.tune.objectives.kto import Kto, judged_of, mismatch
from fairway.tune.objectives.objective import Objective
from fairway.tune.objectives.orpo import Orpo
from fairway.tune.objectives.pairs import pairs_of
from fairway.tune.objectives.sft import Sft
from fairway.tune.recipe import Recipe
from fairway.tune.rows import Row

Items: TypeAlias = list[Any]
GetRecord: TypeAlias = Callable[[], Mapping[str, Any]]
"""The row as it is written."""


def _as_it_is(recipe: Recipe) -> Recipe:
    return recipe


@dataclass(frozen=True)
class Kind:
    """One objective."""

    make: Callable[[Job], Objective]
    items: Callable[[Row, Sequence[Example], GetRecord], Items]
    """What is learned from one row's examples."""
    whole: Callable[[Items], Items] = list
    """What is learned from a file, of the items of all its rows."""
    batched: Callable[[Recipe], Recipe] = _as_it_is
    """The recipe by which items become updates."""
    needs_labels: bool = True
    """Whether every example must have something that is learned."""


def _examples(row: Row, examples: Sequence[Example], record: GetRecord) -> Items:  # noqa: ARG001
    return list(examples)


KINDS: dict[Name, Kind] = {
    "sft": Kind(Sft, _examples),
    "dpo": Kind(Dpo, pairs_of),
    "orpo": Kind(Orpo, pairs_of),
    "kto": Kind(Kto, judged_of, mismatch),
    "grpo": Kind(Grpo, question_of, batched=prompts_per_update, needs_labels=False),
    "distill": Kind(Distill, _examples),
    "reward": Kind(Dpo, pairs_of),  # computed by TRL alone
}


def kind_of(objective: Name | None) -> Kind:
    """Of a recipe's objective; unset is sft."""
    return KINDS[objective or "sft"]
