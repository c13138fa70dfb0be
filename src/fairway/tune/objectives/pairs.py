"""Pairs of answers to one prompt, of which people preferred the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from fairway.tune.encode import Example
from fairway.tune.objectives.logps import num_answer
from fairway.tune.rows import Row


@dataclass(frozen=True, eq=False)
class Pair:
    """One preference."""

    chosen: Example
    rejected: Example

    def __len__(self) -> int:
        return len(self.chosen) + len(self.rejected)

    @property
    def sequences(self) -> tuple[Example, Example]:
        return self.chosen, self.rejected

    @cached_property
    def num_answers(self) -> tuple[int, int]:
        """Tokens of both answers."""
        return num_answer(self.chosen), num_answer(self.rejected)


def pairs_of(row: Row, examples: Sequence[Example], record: object) -> list[Pair]:  # noqa: ARG001
    """One, or none where the row was left out."""
    return [Pair(*examples)] if examples else []


def preference_figures(
    chosen: Tensor, rejected: Tensor, logps: tuple[Tensor, Tensor]
) -> dict[str, tuple[float, float]]:
    """TRL's figures of rewards and log-probabilities [pairs] each."""
    count = len(chosen)
    figures = {
        "rewards/chosen": chosen,
        "rewards/rejected": rejected,
        "rewards/margins": chosen - rejected,
        "rewards/accuracies": (chosen > rejected).float(),
        "logps/chosen": logps[0],
        "logps/rejected": logps[1],
    }
    return {name: (each.sum().item(), count) for name, each in figures.items()}
