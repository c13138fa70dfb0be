"""A tokenizer without a vocabulary file: one token per UTF-8 byte, and two control tokens.

Part of the product: tests, demos and random-weight benchmarks speak through it. Every text round-trips.
"""

from __future__ import annotations

import re

from fairway.text.tokenizer import SpecialTokens, Tokenizer, text_bytes

BOS = 256
EOS = 257
_SPELLING = {BOS: "<s>", EOS: "</s>"}
_ID = {text: token_id for token_id, text in _SPELLING.items()}
_SPECIAL = re.compile("(" + "|".join(_ID) + ")")


class ByteTokenizer(Tokenizer):
    """Ids 0 to 255 are bytes, 256 begins a text and 257 ends one; a text gets BOS, no EOS."""

    def __init__(self, *, adds_bos: bool = True) -> None:
        special = SpecialTokens(frozenset(_SPELLING), BOS, EOS, prefix=(BOS,) if adds_bos else ())
        super().__init__(258, special, strips_leading_space=False)

    def _encode_text(self, text: str, parse_special: bool) -> list[int]:
        if not parse_special:
            return list(text_bytes(text))
        ids: list[int] = []
        for index, part in enumerate(_SPECIAL.split(text)):
            ids += [_ID[part]] if index % 2 else text_bytes(part)
        return ids

    def _piece(self, token_id: int) -> str | None:
        return _SPELLING.get(token_id, f"<0x{token_id:02X}>")

    def _piece_id(self, piece: str) -> int | None:
        match = re.fullmatch(r"<0x([0-9A-F]{2})>", piece)
        return int(match[1], 16) if match else _ID.get(piece)

    def _piece_bytes(self, token_id: int) -> bytes:
        return bytes([token_id])
