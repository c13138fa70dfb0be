"""How vocabulary pieces spell bytes: byte-level letters, "▁" for space, "<0x0A>", "##".

Each tokenizer family has its own spelling; `Spelling.to_bytes` undoes it for one piece at a time.
The one rule that must hold: the bytes of a piece do not depend on its neighbours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fairway.errors import UnsupportedError
from fairway.text.tokenizer import text_bytes

SPACE_MARK = "▁"
BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_CLOSES_UP = frozenset({" .", " ?", " !", " ,"})


def byte_alphabet() -> dict[str, int]:
    """GPT-2's letters for the 256 bytes: printable Latin-1 as itself, the rest from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {chr(byte): byte for byte in printable}
    return letters | {chr(0x100 + rank): byte for rank, byte in enumerate(others)}


BYTE_OF_LETTER = byte_alphabet()


@dataclass(frozen=True)
class Spelling:
    """Which of the spellings a vocabulary uses."""

    byte_level: bool = False
    byte_pieces: bool = False
    space_mark: str | None = None
    continuing_prefix: str | None = None
    closes_up: bool = False
    """WordPiece's clean-up: no space before ". ? ! ,"."""
    strips_leading_space: bool = False

    def to_bytes(self, piece: str) -> bytes:
        if self.byte_level:
            return _byte_level_bytes(piece)
        if self.byte_pieces and (match := BYTE_PIECE.fullmatch(piece)):
            return bytes([int(match[1], 16)])
        if self.continuing_prefix is not None:
            piece = self._word(piece, self.continuing_prefix)
        if self.space_mark:
            piece = piece.replace(self.space_mark, " ")
        return text_bytes(piece)

    def _word(self, piece: str, prefix: str) -> str:
        if piece.startswith(prefix):
            return piece[len(prefix) :]
        return piece if self.closes_up and f" {piece}" in _CLOSES_UP else f" {piece}"


def _byte_level_bytes(piece: str) -> bytes:
    try:
        return bytes([BYTE_OF_LETTER[letter] for letter in piece])
    except KeyError:
        return text_bytes(piece)


BYTE_LEVEL = Spelling(byte_level=True)
SENTENCEPIECE = Spelling(byte_pieces=True, space_mark=SPACE_MARK, strips_leading_space=True)
WORDPIECE = Spelling(continuing_prefix="##", closes_up=True, strips_leading_space=True)


def spelling_of_decoder(decoder: Mapping[str, Any] | None) -> Spelling:
    """The spelling that the `decoder` of a tokenizer.json undoes."""
    spelling = Spelling()
    for step in _steps(decoder):
        spelling = _with_step(spelling, step)
    return spelling


def _steps(decoder: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    if decoder is None:
        return []
    if decoder.get("type") == "Sequence":
        return [step for part in decoder.get("decoders", []) for step in _steps(part)]
    return [decoder]


def _with_step(spelling: Spelling, step: Mapping[str, Any]) -> Spelling:
    match step:
        case {"type": "ByteLevel"}:
            return replace(spelling, byte_level=True)
        case {"type": "ByteFallback"}:
            return replace(spelling, byte_pieces=True)
        case {"type": "Fuse"}:
            return spelling
        case {"type": "Replace", "pattern": {"String": str(mark)}, "content": " "}:
            return replace(spelling, space_mark=mark)
        case {"type": "Strip", "content": " ", "start": 0, "stop": 0}:
            return spelling
        case {"type": "Strip", "content": " ", "start": 1, "stop": 0}:
            return replace(spelling, strips_leading_space=True)
        case {"type": "Metaspace", "replacement": str(mark)}:
            strips = step.get("prepend_scheme", "always") != "never" and step.get("add_prefix_space", True)
            return replace(spelling, space_mark=mark, strips_leading_space=strips)
        case {"type": "WordPiece", "prefix": str(prefix)}:
            tidy = bool(step.get("cleanup", True))
            return replace(spelling, continuing_prefix=prefix, closes_up=tidy, strips_leading_space=True)
    raise UnsupportedError(f"The tokenizer decodes with a step that Fairway does not know: {dict(step)}.")
