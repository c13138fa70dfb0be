"""Log probabilities in the three shapes clients know: chat, text completion, and vLLM's prompt_logprobs.

A log probability below -9999 is reported as -9999, as OpenAI does: JSON has no minus infinity.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fairway.runtimes.protocol import Logprob
from fairway.text.tokenizer import Tokenizer

LOWEST = -9999.0


def chat_logprobs(logprobs: Iterable[Logprob]) -> dict[str, Any]:
    return {"content": [_with_top(each) for each in logprobs], "refusal": None}


def _with_top(logprob: Logprob) -> dict[str, Any]:
    return {**_entry(logprob), "top_logprobs": [_entry(each) for each in logprob.top]}


def _entry(logprob: Logprob) -> dict[str, Any]:
    return {"token": logprob.text, "logprob": _number(logprob), "bytes": list(logprob.bytes)}


def _number(logprob: Logprob) -> float:
    return max(logprob.logprob, LOWEST)


class CompletionLogprobs:
    """OpenAI's parallel lists. Offsets count characters and run on from piece to piece."""

    def __init__(self, num_top: int) -> None:
        self._num_top = num_top
        self._offset = 0

    def piece(self, logprobs: Sequence[Logprob]) -> dict[str, Any]:
        return self._lists([(_name(each), each) for each in logprobs])

    def prompt(
        self, ids: Sequence[int], logprobs: Sequence[Logprob | None], tokenizer: Tokenizer
    ) -> dict[str, Any]:
        """The prompt's own tokens; the first has no log probability."""
        names = [tokenizer.token_text(each) for each in ids]
        return self._lists(list(zip(names, logprobs, strict=True)))

    def _lists(self, rows: Sequence[tuple[str, Logprob | None]]) -> dict[str, Any]:
        offsets = []
        for name, _ in rows:
            offsets.append(self._offset)
            self._offset += len(name)
        return {
            "tokens": [name for name, _ in rows],
            "token_logprobs": [each and _number(each) for _, each in rows],
            "top_logprobs": [each and self._top(each) for _, each in rows] if self._num_top else None,
            "text_offset": offsets,
        }

    def _top(self, logprob: Logprob) -> dict[str, float]:
        """The likeliest, and always the token itself."""
        entries = {_name(each): _number(each) for each in logprob.top}
        entries.setdefault(_name(logprob), _number(logprob))
        return entries


def _name(logprob: Logprob) -> str:
    r"""The token's text, or `bytes:\xe2\x82` for a piece of a character, so that names stay distinct."""
    try:
        logprob.bytes.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in logprob.bytes)
    return logprob.text


def prompt_logprobs(logprobs: Sequence[Logprob | None] | None) -> list[dict[str, Any] | None] | None:
    """vLLM's list: for each prompt token but the first, token id -> what is known of it."""
    if logprobs is None:
        return None
    return [None if each is None else _ranked(each) for each in logprobs]


def _ranked(logprob: Logprob) -> dict[str, Any]:
    ranks = {each.token_id: rank for rank, each in enumerate(logprob.top, 1)}
    return {
        str(each.token_id): {
            "logprob": _number(each),
            "rank": ranks.get(each.token_id),
            "decoded_token": each.text,
        }
        for each in (logprob, *logprob.top)
    }
