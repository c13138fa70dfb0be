"""SentencePiece's BPE (the "llama" vocabulary of GGUF files, tokenizer.model): scores, no merge list.

Of all neighbours whose joint text is a piece, the pair with the highest score joins first, leftmost
among equals, until none is left; what is no piece falls back to bytes. The library's BPE ranks pairs
and cannot say "equal", so this is our own. Text is cut before "▁" where no piece reaches across one,
which cannot change the result, and each word's ids are remembered.
Source: llama.cpp llm_tokenizer_spm, sentencepiece bpe_model.cc.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from fairway.errors import FormatError
from fairway.text.pieces import SENTENCEPIECE, SPACE_MARK
from fairway.text.spm_merges import MergeTable
from fairway.text.tokenizer import SpecialTokens, Tokenizer, text_bytes

_WORD = re.compile(f"{SPACE_MARK}*[^{SPACE_MARK}]+|{SPACE_MARK}+")
_REMEMBERED_WORDS = 50_000
_REMEMBERED_LENGTH = 40


class TokenType(IntEnum):
    """As GGUF's `tokenizer.ggml.token_type` and SentencePiece's proto number them."""

    UNDEFINED = 0
    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True)
class SpmVocabulary:
    """Pieces with their scores and types, all of one length."""

    pieces: Sequence[str]
    scores: Sequence[float]
    types: Sequence[int]


class Normalizes(Protocol):
    """A text normalizer of the `tokenizers` library."""

    def normalize_str(self, text: str) -> str: ...


@dataclass(frozen=True)
class SpmOptions:
    """What surrounds the merging."""

    adds_space: bool = True
    """A space before the text."""
    adds_space_after_special: bool = True
    """And before each piece of text that follows a special token (llama.cpp, transformers' legacy mode)."""
    collapses_spaces: bool = False
    swallows_space_after: frozenset[int] = frozenset()
    """Special tokens that eat the white space behind them (Phi-3)."""
    normalizer: Normalizes | None = None


class SpmTokenizer(Tokenizer):
    """The ids of llama.cpp and of SentencePiece, for the same vocabulary."""

    def __init__(
        self, vocabulary: SpmVocabulary, special: SpecialTokens, options: SpmOptions, unknown_id: int | None
    ) -> None:
        super().__init__(len(vocabulary.pieces), special, strips_leading_space=options.adds_space)
        self.vocabulary = vocabulary
        self.options = options
        self.unknown_id = unknown_id
        self._pieces = list(vocabulary.pieces)
        self._types = list(vocabulary.types)
        self._ids = _unique_ids(self._pieces)
        self._options = options
        self._unknown_id = unknown_id
        self._merges = MergeTable(self._pieces, vocabulary.scores)
        self._byte_ids = [self._ids.get(f"<0x{byte:02X}>") for byte in range(256)]
        self._special_parts = self._splitter({TokenType.CONTROL, TokenType.UNKNOWN, TokenType.USER_DEFINED})
        self._plain_parts = self._splitter({TokenType.USER_DEFINED})
        self._words: dict[str, list[int]] = {}

    def _splitter(self, types: Iterable[int]) -> re.Pattern[str] | None:
        """Matches tokens that are found whole in the text, longest first."""
        wanted = frozenset(types)
        texts = [piece for piece, kind in zip(self._pieces, self._types, strict=True) if kind in wanted]
        texts = sorted((text for text in texts if text), key=lambda text: (-len(text), text))
        return re.compile("(" + "|".join(map(re.escape, texts)) + ")") if texts else None

    def _encode_text(self, text: str, parse_special: bool) -> list[int]:
        splitter = self._special_parts if parse_special else self._plain_parts
        parts = splitter.split(text) if splitter else [text]
        ids: list[int] = []
        spaced, swallow = self._options.adds_space, False
        for index, part in enumerate(parts):
            if index % 2:
                ids.append(self._ids[part])
                spaced = self._options.adds_space and self._options.adds_space_after_special
                swallow = ids[-1] in self._options.swallows_space_after
                continue
            part = part.lstrip() if swallow else part
            if part:
                ids += self._encode_part(part, spaced)
                spaced = False
        return ids

    def _encode_part(self, text: str, spaced: bool) -> list[int]:
        if self._options.normalizer is not None:
            text = self._options.normalizer.normalize_str(text)
        if self._options.collapses_spaces:
            text = re.sub(" +", " ", text).strip(" ")
        if not text:
            return []
        marked = (f" {text}" if spaced else text).replace(" ", SPACE_MARK)
        words = [marked] if self._merges.reaches_across_spaces else _WORD.findall(marked)
        ids: list[int] = []
        for word in words:
            ids += self._words.get(word) or self._encode_word(word)
        return ids if self._has_bytes else self._fuse_unknown(ids)

    @property
    def _has_bytes(self) -> bool:
        return self._byte_ids[0] is not None

    def _encode_word(self, word: str) -> list[int]:
        ids: list[int] = []
        for piece in self._merges.split(word):
            known = self._ids.get(piece)
            ids += self._fallback(piece) if known is None else [known]
        if len(word) <= _REMEMBERED_LENGTH:
            if len(self._words) >= _REMEMBERED_WORDS:
                self._words.clear()
            self._words[word] = ids
        return ids

    def _fallback(self, piece: str) -> list[int]:
        found = [self._byte_ids[byte] for byte in text_bytes(piece)]
        ids = [token_id for token_id in found if token_id is not None]
        if len(ids) == len(found):
            return ids
        return [] if self._unknown_id is None else [self._unknown_id]

    def _fuse_unknown(self, ids: list[int]) -> list[int]:
        """A run of unknown characters is one unknown token, as SentencePiece has it."""
        unknown = self._unknown_id
        return [
            token_id
            for index, token_id in enumerate(ids)
            if token_id != unknown or index == 0 or ids[index - 1] != unknown
        ]

    def _piece(self, token_id: int) -> str | None:
        return self._pieces[token_id]

    def _piece_id(self, piece: str) -> int | None:
        return self._ids.get(piece)

    def _piece_bytes(self, token_id: int) -> bytes:
        kind = self._types[token_id]
        if kind == TokenType.UNUSED:
            return b""
        if kind == TokenType.USER_DEFINED:
            return text_bytes(self._pieces[token_id])
        return SENTENCEPIECE.to_bytes(self._pieces[token_id])


def _unique_ids(pieces: Sequence[str]) -> dict[str, int]:
    ids: dict[str, int] = {}
    for token_id, piece in enumerate(pieces):
        first = ids.setdefault(piece, token_id)
        if first != token_id:
            raise FormatError(f"The vocabulary holds {piece[:40]!r} twice, as {first} and {token_id}.")
    return ids
