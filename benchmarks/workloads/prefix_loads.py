"""The loads that show what a prefix cache is worth, each with the hit rate that an ideal one would have.

A load knows how many ask at once and how long its longest request is, so that every server can be started
with room for exactly that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from benchmarks.workloads.asking import Answer, Ask, Client, conversation, in_flight
from benchmarks.workloads.made_up_words import made_up_words, num_words

SPARE_TOKENS = 64
"""Beyond the counted words: answers whose text is read back as more tokens than it was written in."""


@dataclass(frozen=True)
class Seen:
    """What the clients of one load saw. Rates are tokens per second over the whole time."""

    hit_rate: float
    ideal: float
    first_median_s: float
    first_p95_s: float
    prompt_rate: float
    """Prompt tokens answered for, wherever they came from."""
    output_rate: float
    whole_s: float


class Load(Protocol):
    """Something to ask a server, and again with `again` True where a second time means something."""

    title: str
    clients: int
    longest: int
    """Tokens of the longest prompt and its answer."""

    def run(self, client: Client) -> list[Seen]: ...

    @property
    def parts(self) -> Sequence[str]:
        """What each of the results is called."""
        ...


@dataclass(frozen=True)
class Replay:
    """Requests in order, `clients` of them under way."""

    title: str
    asks: Sequence[Ask]
    ideal: float
    clients: int

    @property
    def longest(self) -> int:
        return max(num_words(ask.prompt) + ask.generate for ask in self.asks) + SPARE_TOKENS

    @property
    def parts(self) -> Sequence[str]:
        return [self.title]

    def run(self, client: Client) -> list[Seen]:
        start = time.perf_counter()
        answers = asyncio.run(in_flight(client, self.asks, self.clients))
        return [summary(answers, self.ideal, time.perf_counter() - start)]


@dataclass(frozen=True)
class ManyUsers:
    """`clients` ask at once after one system prompt: nobody has seen it, then everybody has."""

    title: str
    clients: int
    shared: int
    own: int = 16
    generate: int = 48
    seed: int = 1

    @property
    def longest(self) -> int:
        return self.shared + self.own + self.generate + SPARE_TOKENS

    @property
    def parts(self) -> Sequence[str]:
        return [f"{self.title}, first time", f"{self.title}, again"]

    def run(self, client: Client) -> list[Seen]:
        share = self.shared / (self.shared + self.own)
        first = share * (self.clients - 1) / self.clients
        return [self._ask(client, 0, first), self._ask(client, 1, share)]

    def _ask(self, client: Client, time_number: int, ideal: float) -> Seen:
        system = made_up_words(self.shared, self.seed)
        asks = [
            Ask(system + made_up_words(self.own, self.seed, time_number, user), self.generate)
            for user in range(self.clients)
        ]
        return Replay(self.title, asks, ideal, self.clients).run(client)[0]


@dataclass(frozen=True)
class Conversations:
    """`clients` talk at the same time for some turns; what was said and answered comes back every turn."""

    title: str
    clients: int
    turns: int
    shared: int
    """Words in common at the beginning: a system prompt, or the tools of an agent."""
    said: int
    generate: int
    seed: int = 2

    @property
    def longest(self) -> int:
        return self.shared + self.turns * (self.said + self.generate) + SPARE_TOKENS

    @property
    def parts(self) -> Sequence[str]:
        return [self.title]

    def run(self, client: Client) -> list[Seen]:
        start = time.perf_counter()
        talks = asyncio.run(self._talk(client))
        whole_s = time.perf_counter() - start
        answers = [answer for talk in talks for answer in talk]
        return [summary(answers, self.ideal_of(talks), whole_s)]

    async def _talk(self, client: Client) -> list[list[Answer]]:
        scripts = [self.script(number) for number in range(self.clients)]
        return await asyncio.gather(*(conversation(client, said, self.generate) for said in scripts))

    def script(self, number: int) -> list[str]:
        said = [made_up_words(self.said, self.seed, number, turn) for turn in range(self.turns)]
        return [made_up_words(self.shared, self.seed) + said[0], *said[1:]]

    def ideal_of(self, talks: Sequence[Sequence[Answer]]) -> float:
        """Everything of the turn before, and the common beginning for all but one."""
        before = [a.num_prompt + a.num_generated for talk in talks for a in talk[:-1]]
        hits = sum(before) + self.shared * (len(talks) - 1)
        return hits / sum(a.num_prompt for talk in talks for a in talk)


def summary(answers: Sequence[Answer], ideal: float, whole_s: float) -> Seen:
    firsts = [answer.first_s for answer in answers]
    num_prompt = sum(answer.num_prompt for answer in answers)
    return Seen(
        hit_rate=sum(answer.num_cached for answer in answers) / num_prompt,
        ideal=ideal,
        first_median_s=float(np.median(firsts)),
        first_p95_s=float(np.percentile(firsts, 95)),
        prompt_rate=num_prompt / whole_s,
        output_rate=sum(answer.num_generated for answer in answers) / whole_s,
        whole_s=whole_s,
    )
