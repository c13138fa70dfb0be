"""SentencePiece's scores, found again in a tokenizer.json that was made from them.

The conversion to a tokenizer.json lists every way to make each piece, best score first; the order of
the pieces in that list is all that joining needs. A list that is not complete came from no scores: a
reader that joins by scores might join more, which whoever uses the result must put to the test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from fairway.text.pieces import BYTE_PIECE, SPACE_MARK
from fairway.text.spm_tokenizer import TokenType

REPLACES = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE_MARK}
PREPENDS = {"type": "Prepend", "prepend": SPACE_MARK}
SPLITS = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}


def is_spaced(state: Mapping[str, Any]) -> Literal["always", "never"] | None:
    """How spaces become "▁": with one before the text, or without; None: this is no such tokenizer.

    Metaspace puts a space only where a text has none, which GGUF cannot say: only without is it one.
    """
    normalizer, words = state.get("normalizer"), state.get("pre_tokenizer")
    steps = normalizer.get("normalizers", [normalizer]) if normalizer else []
    if steps == [PREPENDS, REPLACES] and words is None:
        return "always"
    if steps == [REPLACES] and words in (None, SPLITS):
        return "never"
    if not steps and isinstance(words, Mapping) and words.get("type") == "Metaspace":
        return _metaspace(words)
    return None


def _metaspace(words: Mapping[str, Any]) -> Literal["never"] | None:
    scheme = words.get("prepend_scheme", "always" if words.get("add_prefix_space", True) else "never")
    is_plain = words.get("replacement") == SPACE_MARK and not words.get("split", True)
    return "never" if is_plain and scheme == "never" else None


def types_of(types: Sequence[int], pieces: Sequence[str], model: Mapping[str, Any]) -> list[int]:
    """With unknown and byte pieces told apart."""
    found = list(types)
    unknown = model["vocab"].get(model.get("unk_token"))
    for token_id, piece in enumerate(pieces):
        if token_id == unknown:
            found[token_id] = int(TokenType.UNKNOWN)
        elif (
            model.get("byte_fallback") and found[token_id] == TokenType.NORMAL and BYTE_PIECE.fullmatch(piece)
        ):
            found[token_id] = int(TokenType.BYTE)
    return found


def scores_of(pieces: Sequence[str], merges: Sequence[tuple[str, ...]]) -> list[float]:
    """Minus the place of each piece in the order in which pieces are joined; 0 for what is never joined."""
    order: dict[str, int] = {}
    for left, right in merges:
        order.setdefault(left + right, len(order))
    return [-float(1 + order[piece]) if piece in order else 0.0 for piece in pieces]


def has_all_merges(pieces: Sequence[str], types: Sequence[int], merges: set[tuple[str, ...]]) -> bool:
    """Whether every two pieces that make a third are in the list."""
    normal = {piece for piece, kind in zip(pieces, types, strict=True) if kind == TokenType.NORMAL}
    return all(
        (piece[:cut], piece[cut:]) in merges
        for piece in normal
        for cut in range(1, len(piece))
        if piece[:cut] in normal and piece[cut:] in normal
    )
