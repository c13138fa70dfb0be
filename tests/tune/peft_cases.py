"""What the PEFT goldens were recorded on: the tiny models of tests/models, three rows, and LoRA matrices."""

import sys
import zlib
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

from tiny_models import Golden, golden

from fairway.tune.lora_targets import ALL, LoraSettings

CASES = ("llama-grouped-heads", "qwen3-tied-bias", "gemma2-soft-caps", "phi3-window", "gpt2-tied")
DORA_CASES = ("llama-grouped-heads", "qwen3-tied-bias", "gpt2-tied")
PREFIX_CASES = ("llama-grouped-heads", "phi3-window", "gpt2-tied")
NUM_VIRTUAL = 5
LORA = LoraSettings(r=4, lora_alpha=6.0, lora_dropout=0.0, use_rslora=True, target_modules=(ALL,))
RANDOM = np.random.RandomState(7)
ROWS = []
"""(ids, labels) of rows that differ in length; the first half of each is not learned."""
for length in (21, 9, 14):
    ids = RANDOM.randint(3, 70, length).tolist()
    ROWS.append((ids, [-100] * (length // 2) + ids[length // 2 :]))


def tiny(name: str) -> Golden:
    return golden(name)


def lora_weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    random = np.random.RandomState(zlib.crc32(name.encode()))
    values = random.uniform(-1, 1, shape) * 0.2
    return (values + 1 if name.endswith("magnitude_vector") else values).astype(np.float32)
