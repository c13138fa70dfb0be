"""What every tokenizer promises.

Decoding is a matter of bytes: every token adds the same bytes wherever it stands, so the full text is
the tokens' bytes joined, and streaming (detokenizer.py) cannot disagree with it. Nothing here knows a
file format; loader.py chooses who does.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from fairway.errors import RequestError


@dataclass(frozen=True)
class SpecialTokens:
    """The ids with a meaning, and what `encode(add_special_tokens=True)` puts around a text."""

    ids: frozenset[int] = frozenset()
    """Control tokens: they carry meaning to the model and no text to a reader."""
    bos: int | None = None
    eos: int | None = None
    prefix: tuple[int, ...] = ()
    suffix: tuple[int, ...] = ()


@dataclass(frozen=True)
class LocatedTokens:
    """A text's tokens and where they lie in it."""

    ids: list[int]
    ends: list[int]
    """The character position after each token; what several tokens share (an emoji) ends with the first."""


class Tokenizer(ABC):
    """Text to ids and back. Immutable once built; any thread may call it."""

    def __init__(self, vocab_size: int, special: SpecialTokens, *, strips_leading_space: bool) -> None:
        self.vocab_size = vocab_size
        self.special_ids = special.ids
        self.bos_token_id = special.bos
        self.eos_token_id = special.eos
        self.strips_leading_space = strips_leading_space
        """Whether the first text of a sequence loses one leading space (SentencePiece adds it)."""
        self._prefix = list(special.prefix)
        self._suffix = list(special.suffix)
        self._bytes: dict[int, bytes] = {}
        self._spaces_after: dict[int, bool] = {}

    @property
    def adds_bos(self) -> bool:
        return self.bos_token_id is not None and self.bos_token_id in self._prefix

    @property
    def adds_eos(self) -> bool:
        return self.eos_token_id is not None and self.eos_token_id in self._suffix

    def encode(self, text: str, *, add_special_tokens: bool = True, parse_special: bool = True) -> list[int]:
        """The ids of `text`.

        `parse_special` turns the spelling of a control token ("<|im_end|>") into its id; without it, it is
        ordinary text. A text that already begins with the BOS token, as chat templates render it, does not
        get a second one, and likewise at the end, so a prompt can be encoded twice over without harm. A
        rendered chat template is complete: `add_special_tokens=False` gives transformers' ids for it.
        Raises `RequestError` for text that is not Unicode.
        """
        _require_unicode(text)
        ids = self._encode_text(text, parse_special) if text else []
        if not add_special_tokens:
            return ids
        before, after = self.missing_around(ids)
        return before + ids + after

    def missing_around(self, ids: Sequence[int]) -> tuple[list[int], list[int]]:
        """The special tokens that `ids` lack before and after them to be a whole text."""
        begins = list(ids[: len(self._prefix)]) == self._prefix
        ends = list(ids[len(ids) - len(self._suffix) :]) == self._suffix
        return [] if begins else list(self._prefix), [] if ends else list(self._suffix)

    def encode_located(self, texts: Sequence[str]) -> list[LocatedTokens]:
        """The ids of each text, nothing added around them, and where in it every token ends.

        Control tokens are read as such. Raises `RequestError` for text that is not Unicode and for text
        whose tokens do not spell it, so that no token can be found in it.
        """
        for text in texts:
            _require_unicode(text)
        return self._encode_located(texts)

    def _encode_located(self, texts: Sequence[str]) -> list[LocatedTokens]:
        from fairway.text.token_places import ends_of

        encoded = [self._encode_text(text, True) if text else [] for text in texts]
        return [
            LocatedTokens(ids, ends_of(text, [self.emitted_bytes(each, False) for each in ids]))
            for text, ids in zip(texts, encoded, strict=True)
        ]

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """The text of `ids`; bytes that are no UTF-8 become U+FFFD. `RequestError` for an impossible id."""
        raw = b"".join(self.emitted_bytes(token_id, skip_special_tokens) for token_id in ids)
        if self.strips_leading_space and raw.startswith(b" "):
            raw = raw[1:]
        return raw.decode("utf-8", "replace")

    def token_bytes(self, token_id: int) -> bytes:
        """The exact bytes a token adds to the text: b"" for control tokens and unused ids."""
        token_id = self._checked(token_id)
        known = self._bytes.get(token_id)
        if known is None:
            known = b"" if token_id in self.special_ids else self._piece_bytes(token_id)
            self._bytes[token_id] = known
        return known

    def emitted_bytes(self, token_id: int, skip_special_tokens: bool = True) -> bytes:
        """`token_bytes`, or a control token's spelling when those are not skipped."""
        if not skip_special_tokens and token_id in self.special_ids:
            return text_bytes(self._piece(self._checked(token_id)) or "")
        return self.token_bytes(token_id)

    def adds_space_after(self, token_id: int) -> bool:
        """Whether a text that follows this control token is encoded with a space that it does not have.

        What was learned as "<|assistant|>Yes" is then answered as the token of " Yes" and means "Yes".
        """
        token_id = self._checked(token_id)
        if token_id not in self.special_ids:
            return False
        known = self._spaces_after.get(token_id)
        if known is None:
            ids = self._encode_text((self._piece(token_id) or "") + "a", True)
            known = ids[:1] == [token_id] and b"".join(map(self.token_bytes, ids[1:])).startswith(b" ")
            self._spaces_after[token_id] = known
        return known

    def token_text(self, token_id: int) -> str:
        """A readable form: control tokens spelled out, stray bytes as \\xE4."""
        return self.emitted_bytes(token_id, skip_special_tokens=False).decode("utf-8", "backslashreplace")

    def token_id(self, text: str) -> int | None:
        """The id of a vocabulary piece as the vocabulary spells it ("▁the", "Ġthe", "<|im_end|>")."""
        return self._piece_id(text)

    def _checked(self, token_id: int) -> int:
        try:
            number = operator.index(token_id)
        except TypeError:
            raise RequestError(f"A token id must be an integer, not {token_id!r}.", param="ids") from None
        if not 0 <= number < self.vocab_size:
            raise RequestError(
                f"Token id {number} is outside the vocabulary (0 to {self.vocab_size - 1}).", param="ids"
            )
        return number

    @abstractmethod
    def _encode_text(self, text: str, parse_special: bool) -> list[int]:
        """The ids of non-empty `text`, nothing added around it."""

    @abstractmethod
    def _piece(self, token_id: int) -> str | None:
        """How the vocabulary spells a valid id; None for a hole in it."""

    @abstractmethod
    def _piece_id(self, piece: str) -> int | None: ...

    @abstractmethod
    def _piece_bytes(self, token_id: int) -> bytes:
        """The bytes of a token that is not a control token."""


def text_bytes(text: str) -> bytes:
    """UTF-8, also of text that a reader decoded with `surrogateescape`."""
    return text.encode("utf-8", "surrogateescape")


def _require_unicode(text: str) -> None:
    if not isinstance(text, str):
        raise RequestError(f"Text must be a string, not {type(text).__name__}.", param="text")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RequestError(
            f"The text holds a lone surrogate (U+{ord(text[error.start]):04X}) at position {error.start}; "
            "it is not valid Unicode.",
            hint="Send whole characters: an emoji cut in half by the caller looks like this.",
            param="text",
        ) from None
