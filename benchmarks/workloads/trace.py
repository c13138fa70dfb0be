"""Mooncake's traces of real conversations, made small: which requests begin like which others, and how long.

A request is a list of hashes, one for each block of 512 tokens; equal hashes mean that everything up to the
end of the block is equal. Whole conversations are drawn, so that the sharing within them stays, and each
block becomes `tokens_per_block` made-up words that depend on its hash alone.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.protocol import Unavailable
from benchmarks.workloads.asking import Ask
from benchmarks.workloads.made_up_words import WORD_LETTERS, made_up_words

BLOCK_TOKENS = 512


@dataclass(frozen=True)
class Entry:
    """One request of a trace. Lengths are in tokens."""

    hash_ids: tuple[int, ...]
    input_length: int
    output_length: int


def read_trace(path: Path) -> list[Entry]:
    if not path.is_file():
        raise Unavailable(f"{path} is not on this machine")
    rows = map(json.loads, path.read_text("utf-8").splitlines())
    return [Entry(tuple(row["hash_ids"]), row["input_length"], row["output_length"]) for row in rows]


def conversations(entries: Sequence[Entry]) -> list[list[int]]:
    """Places of the requests that belong together: equal up to the first block that not all share."""
    depth = 1
    while len(entries) > 1 and len({entry.hash_ids[:depth] for entry in entries}) == 1:
        depth += 1
    found: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, entry in enumerate(entries):
        found[entry.hash_ids[:depth]].append(index)
    return list(found.values())


def sample(entries: Sequence[Entry], count: int, seed: int = 0) -> list[Entry]:
    """About `count` requests of conversations drawn at random, in the order of the trace."""
    groups = conversations(entries)
    random.Random(seed).shuffle(groups)
    chosen: list[int] = []
    for group in groups:
        if len(chosen) >= count:
            break
        chosen += group
    return [entries[index] for index in sorted(chosen)]


def scaled(entry: Entry, tokens_per_block: int) -> Ask:
    """The request with all its lengths divided alike."""
    words = "".join(made_up_words(tokens_per_block, hash_id) for hash_id in entry.hash_ids)
    length = scaled_length(entry.input_length, tokens_per_block)
    generate = scaled_length(entry.output_length, tokens_per_block)
    return Ask(words[: length * (WORD_LETTERS + 1)], generate)


def scaled_length(tokens: int, tokens_per_block: int) -> int:
    return max(1, -(-tokens * tokens_per_block // BLOCK_TOKENS))


def ideal_hit_rate(entries: Sequence[Entry], tokens_per_block: int = BLOCK_TOKENS) -> float:
    """Share of the prompt tokens that a cache without end supplies, if each request waits for those before.

    At least the last token is always computed.
    """
    seen: dict[int, int] = {}
    hits = total = 0
    for entry in entries:
        length = scaled_length(entry.input_length, tokens_per_block)
        hits += min(known_tokens(entry, seen, tokens_per_block), length - 1)
        total += length
        for at, key in enumerate(entry.hash_ids):
            present = min(tokens_per_block, length - at * tokens_per_block)
            seen[key] = max(present, seen.get(key, 0))
    return hits / total


def known_tokens(entry: Entry, seen: Mapping[int, int], tokens_per_block: int) -> int:
    """Leading tokens that have been; `seen` says how much of each block, whose last one may be cut short."""
    total = 0
    for key in entry.hash_ids:
        known = seen.get(key, 0)
        total += known
        if known < tokens_per_block:
            break
    return total
