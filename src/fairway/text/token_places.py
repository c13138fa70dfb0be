"""Where each token of a text ends in it, for tokenizers that do not say so themselves.

The rule: tokens spell their text. Only white space may differ: SentencePiece adds a space before a text, and
some control tokens swallow what follows them. Anything else is an error, never a guess.
"""

from __future__ import annotations

from collections.abc import Sequence

from fairway.errors import RequestError

_SPACE = b" \t\r\n"


def ends_of(text: str, pieces: Sequence[bytes]) -> list[int]:
    """The character position after each piece; a character in several pieces ends with the first."""
    raw = text.encode("utf-8")
    ends, at = [], 0
    for piece in pieces:
        at = _after(raw, at, piece)
        ends.append(at)
    return _in_characters(text, raw, ends)


def _after(raw: bytes, at: int, piece: bytes) -> int:
    if raw.startswith(piece, at):
        return at + len(piece)
    if piece.startswith(b" ") and raw.startswith(piece[1:], at):
        return at + len(piece) - 1
    start = at
    while start < len(raw) and raw[start] in _SPACE:
        start += 1
    if start == at or not raw.startswith(piece, start):
        near = raw[at : at + 20].decode("utf-8", "replace")
        raise RequestError(f"The tokenizer's tokens do not spell the text at byte {at} ({near!r}).")
    return start + len(piece)


def _in_characters(text: str, raw: bytes, ends: list[int]) -> list[int]:
    if len(raw) == len(text):
        return ends
    characters: list[int] = []
    at = 0
    for end in ends:
        begun = sum(byte & 0xC0 != 0x80 for byte in raw[at:end])  # 10xxxxxx continues a character
        characters.append((characters[-1] if characters else 0) + begun)
        at = end
    return characters
