"""Token by token to text, as far as it is safe to send.

The pieces joined are the text that decoding everything at once gives: bytes wait here until they are a
whole character, and the space that SentencePiece puts before a text, or before what follows a control token,
is dropped once. Constant work per token. It does not know about stop strings or tools.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from fairway.text.tokenizer import Tokenizer

_LONGEST_PENDING = 3  # bytes of a UTF-8 character that can still be incomplete


class Detokenizer:
    """The text that follows `prompt_ids`, whose own text is not repeated.

    A prompt that ends inside a character hands the begun bytes on. Without a prompt the result is
    `tokenizer.decode(ids)`. Push only ids below `tokenizer.vocab_size` (`RequestError` otherwise).
    """

    def __init__(
        self, tokenizer: Tokenizer, prompt_ids: Sequence[int] = (), *, skip_special_tokens: bool = True
    ) -> None:
        self._tokenizer = tokenizer
        self._skip_special_tokens = skip_special_tokens
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        tail = self._tail(prompt_ids)
        self._at_start = not tail or tokenizer.adds_space_after(prompt_ids[-1])
        self._decoder.decode(tail)

    def push(self, token_id: int) -> str:
        """The characters that this token completes; often none, never half of one."""
        raw = self._tokenizer.emitted_bytes(token_id, self._skip_special_tokens)
        if self._at_start and raw:
            self._at_start = False
            if self._tokenizer.strips_leading_space and raw.startswith(b" "):
                raw = raw[1:]
        return self._decoder.decode(raw)

    def flush(self) -> str:
        """What still waited: U+FFFD if the text ends inside a character."""
        return self._decoder.decode(b"", final=True)

    def _tail(self, prompt_ids: Sequence[int]) -> bytes:
        """The last bytes of the prompt, enough to know which character is begun."""
        tail = b""
        for token_id in reversed(prompt_ids):
            tail = self._tokenizer.emitted_bytes(token_id, self._skip_special_tokens) + tail
            if len(tail) >= _LONGEST_PENDING:
                return tail[-_LONGEST_PENDING:]
        return tail
