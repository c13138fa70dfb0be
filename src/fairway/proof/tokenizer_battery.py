"""The tokenizer battery: the same ids for thousands of strings, and the same bytes for every id.

Knows tokenizers, not where they come from. The rule: two refusals are equal only if they say the
same; ids beyond the source's vocabulary are padding, whatever they are called.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fairway.errors import FairwayError
from fairway.proof.strings import Named, battery_strings
from fairway.text.fast_tokenizer import FastTokenizer
from fairway.text.tokenizer import Tokenizer

NUM_SHOWN = 8
MAX_PIECES, QUICK_PIECES = 20_000, 2_000


@dataclass(frozen=True)
class IdDifference:
    """One string that the two read differently. A refusal stands in place of ids."""

    kind: str
    text: str
    source_ids: tuple[int, ...] | str
    target_ids: tuple[int, ...] | str


@dataclass(frozen=True)
class PieceDifference:
    """One id that does not write the same bytes."""

    token_id: int
    source_text: str
    target_text: str


@dataclass(frozen=True)
class TokenizerEvidence:
    """What the battery found; `first` and `first_pieces` hold at most 8 differences."""

    num_strings: int
    kinds: Mapping[str, int]
    """Strings of each kind."""
    num_differing: int
    first: tuple[IdDifference, ...]
    num_unnormalised: int
    """Not counted as differing: strings that are not in NFC, whose NFC both read as the source reads
    the string itself. GGUF has no place for a normaliser, so its readers leave this to the caller."""
    source_vocab_size: int
    target_vocab_size: int
    num_pieces_differing: int
    first_pieces: tuple[PieceDifference, ...]
    roles: Mapping[str, tuple[Any, Any]]
    """Whether BOS and EOS are put around a text, and how decoding begins, where the two differ."""

    @property
    def is_same(self) -> bool:
        return not (self.num_differing or self.num_pieces_differing or self.roles)


def compare_tokenizers(source: Tokenizer, target: Tokenizer, *, quick: bool = False) -> TokenizerEvidence:
    """Every battery string with control tokens read as such, those that hold one also as plain text."""
    kinds: Counter[str] = Counter()
    first: list[IdDifference] = []
    num_differing = num_unnormalised = 0
    for kind, text in _strings(source, target, quick):
        kinds[kind] += 1
        for parse_special in (True, False) if kind == "special token" else (True,):
            ours, theirs = _ids(source, text, parse_special), _ids(target, text, parse_special)
            if ours != theirs and _ids(target, _composed(text), parse_special) == ours:
                num_unnormalised += 1
                break
            if ours != theirs:
                num_differing += 1
                first.append(IdDifference(kind, text, ours, theirs))
                del first[NUM_SHOWN:]
                break
    pieces = list(_piece_differences(source, target))
    return TokenizerEvidence(
        num_strings=kinds.total(),
        kinds=dict(kinds),
        num_differing=num_differing,
        first=tuple(first),
        num_unnormalised=num_unnormalised,
        source_vocab_size=source.vocab_size,
        target_vocab_size=target.vocab_size,
        num_pieces_differing=len(pieces),
        first_pieces=tuple(pieces[:NUM_SHOWN]),
        roles=_roles(source, target),
    )


def _strings(source: Tokenizer, target: Tokenizer, quick: bool) -> Iterator[Named]:
    """The battery, then pieces of both vocabularies, each string once."""
    seen: set[str] = set()
    for kind, text in battery_strings(_special_texts(source, target), quick=quick):
        if text not in seen:
            seen.add(text)
            yield kind, text
    for tokenizer in (source, target):
        step = max(1, tokenizer.vocab_size // (QUICK_PIECES if quick else MAX_PIECES))
        for token_id in range(0, tokenizer.vocab_size, step):
            text = tokenizer.token_bytes(token_id).decode("utf-8", "ignore")
            if text and text not in seen:
                seen.add(text)
                yield "vocabulary", text


def _special_texts(*tokenizers: Tokenizer) -> list[str]:
    texts = {tokenizer.token_text(each) for tokenizer in tokenizers for each in tokenizer.special_ids}
    return sorted(text for text in texts if text)[:2000]


def _ids(tokenizer: Tokenizer, text: str, parse_special: bool) -> tuple[int, ...] | str:
    try:
        return tuple(tokenizer.encode(text, parse_special=parse_special))
    except FairwayError as error:
        return error.message


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _piece_differences(source: Tokenizer, target: Tokenizer) -> Iterator[PieceDifference]:
    """A quarter of a million ids take seconds one by one; equal vocabularies need no such look."""
    if (
        isinstance(source, FastTokenizer)
        and isinstance(target, FastTokenizer)
        and source.has_pieces_of(target)
    ):
        return
    for token_id in range(source.vocab_size):
        ours, theirs = _piece(source, token_id), _piece(target, token_id)
        if ours != theirs:
            yield PieceDifference(
                token_id, *(text.decode("utf-8", "backslashreplace") for text in (ours, theirs))
            )


def _piece(tokenizer: Tokenizer, token_id: int) -> bytes:
    """The bytes that an answer shows for an id; none beyond the vocabulary."""
    return tokenizer.token_bytes(token_id) if token_id < tokenizer.vocab_size else b""


def _roles(source: Tokenizer, target: Tokenizer) -> dict[str, tuple[Any, Any]]:
    names = ("adds_bos", "adds_eos", "strips_leading_space")
    pairs = {name: (getattr(source, name), getattr(target, name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
