"""The crowds of clients that servers are asked by, their prompts, and the keys of their results."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.comparison.columns import Column

LETTERS = "abcdefghijklmnopqrstuvwxyz"
OWN_WORDS, SHARED_WORDS, OWN_AFTER_SHARED, GENERATE = 64, 800, 16, 48
READY = "ready_s"
FIRST, FIRST_P95, GAP_P95 = "first_s", "first_p95_s", "gap_p95_s"
OF_OFFLINE = "http_of_offline"


@dataclass(frozen=True)
class Load:
    """`clients` that each send `words` of their own after `shared` that all have in common."""

    key: str
    title: str
    clients: int
    words: int
    shared: int = 0
    generate: int = GENERATE

    def time_key(self, what: str) -> str:
        return f"{self.key}_{what}"


CROWDS = tuple(
    Load(f"http{count}", f"{count} client{'s' if count > 1 else ''}", count, OWN_WORDS)
    for count in (1, 8, 32, 128)
)
SHARED = (
    Load("shared_cold", "32, shared prefix", 32, OWN_AFTER_SHARED, SHARED_WORDS),
    Load("shared_warm", "32, same prefix again", 32, OWN_AFTER_SHARED, SHARED_WORDS),
)
LOADS = (*CROWDS, *SHARED)
COMPARED = CROWDS[2]
OFFLINE = Column("offline", f"{COMPARED.clients} offline", COMPARED.clients, COMPARED.words, GENERATE - 1)
"""What COMPARED is without HTTP: as many prompts at once, as long, that get as long answers."""
WORKLOAD = f"""Streaming clients that all ask at once: {OWN_WORDS} words of their own (one token a word),
{GENERATE} generated tokens each, so the reading of prompts counts too. With a shared prefix: {SHARED_WORDS}
words in common, {OWN_AFTER_SHARED} of their own; a new prefix every round. Offline is the same engine,
stepped directly, in the same round: {OFFLINE.batch} prompts of {OFFLINE.prompt} tokens at once, {GENERATE}
generated tokens each."""


def offline_rate(times: dict[str, float]) -> float:
    """Generated tokens per second of OFFLINE, the reading of prompts included as it is over HTTP."""
    return OFFLINE.batch * GENERATE / (times["first_s"] + times["after_first_s"])


class Texts:
    """Prompts that are never twice the same, except for the words that a load shares."""

    def __init__(self, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)

    def words(self, count: int) -> str:
        """Made-up words, each one token in the tokenizer of the random models."""
        letters = self._random.integers(len(LETTERS), size=(count, 3))
        return "".join(" " + "".join(LETTERS[index] for index in word) for word in letters)

    def of(self, load: Load, shared: str = "") -> list[str]:
        return [shared + self.words(load.words) for _ in range(load.clients)]

    def all_loads(self) -> Iterator[tuple[Load, list[str]]]:
        """Every load with its prompts; those with a shared prefix share it with each other."""
        for load in CROWDS:
            yield load, self.of(load)
        shared = self.words(SHARED_WORDS)
        for load in SHARED:
            yield load, self.of(load, shared)
