"""A tokenizer that lets the `tokenizers` library find the ids.

The library splits and merges; decoding, ids around the text and errors are ours (tokenizer.py), so all
tokenizers behave alike. No exception or panic of the library leaves this module unnamed.
"""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tokenizers import Tokenizer as Backend

from fairway.errors import FairwayError, FormatError
from fairway.text.pieces import Spelling
from fairway.text.tokenizer import LocatedTokens, SpecialTokens, Tokenizer, text_bytes


class FastTokenizer(Tokenizer):
    """`backend` must neither truncate nor pad; its post-processor is never used."""

    def __init__(self, backend: Backend, spelling: Spelling, special: SpecialTokens) -> None:
        vocab_size = max(backend.get_vocab(with_added_tokens=True).values(), default=-1) + 1
        super().__init__(vocab_size, special, strips_leading_space=spelling.strips_leading_space)
        self._backend = backend
        self._spelling = spelling
        self._added = frozenset(backend.get_added_tokens_decoder())
        self._plain: Backend | None = None
        self._plain_lock = threading.Lock()

    def has_pieces_of(self, other: FastTokenizer) -> bool:
        """Whether every id is the same piece, spelled and shown alike; False may also mean "look closer"."""
        alike = (self._spelling, self._added, self.special_ids, self.vocab_size)
        if alike != (other._spelling, other._added, other.special_ids, other.vocab_size):
            return False
        ours, theirs = (each._backend.get_vocab(with_added_tokens=True) for each in (self, other))
        return bool(ours == theirs)

    def describe(self) -> dict[str, Any]:
        """The backend as a tokenizer.json holds it."""
        with library_errors("The tokenizer cannot be written down"):
            found: dict[str, Any] = json.loads(self._backend.to_str())
        return found

    def _encode_text(self, text: str, parse_special: bool) -> list[int]:
        backend = self._backend if parse_special else self._plain_backend()
        with library_errors("The tokenizer cannot encode this text"):
            ids: list[int] = backend.encode(text, add_special_tokens=False).ids
        return ids

    def _encode_located(self, texts: Sequence[str]) -> list[LocatedTokens]:
        """On all cores that this process may use; the library releases Python's lock meanwhile."""
        with library_errors("The tokenizer cannot encode these texts"):
            encoded = self._backend.encode_batch(list(texts), add_special_tokens=False)
            return [LocatedTokens(each.ids, [end for _, end in each.offsets]) for each in encoded]

    def _plain_backend(self) -> Backend:
        """A copy that reads control tokens as text, made at first use: the switch is state of the object."""
        with self._plain_lock:
            if self._plain is None:
                with library_errors("The tokenizer cannot read control tokens as text"):
                    plain = copy.deepcopy(self._backend)
                    plain.encode_special_tokens = True
                self._plain = plain
            return self._plain

    def _piece(self, token_id: int) -> str | None:
        piece: str | None = self._backend.id_to_token(token_id)
        return piece

    def _piece_id(self, piece: str) -> int | None:
        token_id: int | None = self._backend.token_to_id(piece)
        return token_id

    def _piece_bytes(self, token_id: int) -> bytes:
        piece = self._piece(token_id)
        if piece is None:
            return b""
        if self._spelling.byte_level and token_id in self._added:
            return text_bytes(piece)
        return self._spelling.to_bytes(piece)


@contextmanager
def library_errors(what: str) -> Iterator[None]:
    """Turns whatever the Rust library throws, panics included, into one `FormatError`."""
    try:
        yield
    except (FairwayError, KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # a Rust panic is no Exception
        reason = " ".join(str(error).split())[:300]
        raise FormatError(f"{what}: {reason or type(error).__name__}.") from error
