"""The crowds of clients that servers are asked by, and under which keys their results are kept."""

from __future__ import annotations

from dataclasses import dataclass

OWN_WORDS, SHARED_WORDS, OWN_AFTER_SHARED, GENERATE = 64, 800, 16, 48
READY = "ready_s"


@dataclass(frozen=True)
class Load:
    """`clients` that each send `words` of their own after `shared` that all have in common."""

    key: str
    title: str
    clients: int
    words: int
    shared: int = 0
    generate: int = GENERATE

    @property
    def first_key(self) -> str:
        return f"{self.key}_first_s"

    @property
    def p95_key(self) -> str:
        return f"{self.key}_p95_s"


CROWDS = tuple(
    Load(f"http{count}", f"{count} client{'s' if count > 1 else ''}", count, OWN_WORDS)
    for count in (1, 8, 32, 128)
)
SHARED = (
    Load("shared_cold", "32 clients, shared prefix, first time", 32, OWN_AFTER_SHARED, SHARED_WORDS),
    Load("shared_warm", "32 clients, shared prefix, again", 32, OWN_AFTER_SHARED, SHARED_WORDS),
)
LOADS = (*CROWDS, *SHARED)
WORKLOAD = f"""Streaming clients that all ask at once: {OWN_WORDS} words of their own (one token a word),
{GENERATE} generated tokens each. With a shared prefix: {SHARED_WORDS} words in common, {OWN_AFTER_SHARED} of
their own; a new prefix every round."""
