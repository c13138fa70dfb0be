"""What the TRL goldens were recorded on: prompts with two answers each, and a LoRA that is not zero."""

from dataclasses import dataclass

import numpy as np
from peft_cases import LORA, lora_weight, tiny

CASES = ("llama-grouped-heads", "gemma2-soft-caps")
RANDOM = np.random.RandomState(11)
BETA, LABEL_SMOOTHING, WEIGHTS = 0.3, 0.1, (1.0, 0.7)
TEMPERATURE, EPSILON = 0.8, 0.2
LABELS = (True, False, False, True)


@dataclass(frozen=True)
class Triple:
    prompt: list[int]
    chosen: list[int]
    rejected: list[int]


def _ids(length: int) -> list[int]:
    return RANDOM.randint(3, 70, length).tolist()


TRIPLES = [
    Triple(_ids(asked), _ids(good), _ids(bad))
    for asked, good, bad in ((7, 9, 5), (4, 6, 8), (9, 3, 3), (5, 7, 2))
]
ADVANTAGES = np.array([1.2, -0.3, 0.4, -1.1], np.float32)
OLD = [RANDOM.uniform(-0.6, 0.6, len(each.chosen)).astype(np.float32) for each in TRIPLES]
"""How much likelier each token of the chosen answers has become since they were sampled."""

__all__ = ["LORA", "lora_weight", "tiny"]
