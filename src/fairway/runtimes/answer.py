"""From token events to text deltas: one answer of a generation.

Detokenises, holds back what may become a stop string, and keeps the count for usage. Knows
nothing of threads, queues or HTTP.
"""

from __future__ import annotations

from fairway.engine.events import TokenEvent, TokenLogprob
from fairway.runtimes.protocol import Delta, GenerationRequest, Logprob
from fairway.text.detokenizer import Detokenizer
from fairway.text.stop_strings import StopStrings
from fairway.text.tokenizer import Tokenizer


class Answer:
    """Folds the events of one request into deltas. `finished` is True after the last one."""

    def __init__(self, index: int, request: GenerationRequest, tokenizer: Tokenizer) -> None:
        self.index = index
        self.finished = False
        self.stopped_early = False
        """A stop string ended it: the engine has to be told."""
        self.num_tokens = 0
        self.num_cached = 0
        self._request = request
        self._tokenizer = tokenizer
        self._detokenizer = Detokenizer(tokenizer, request.prompt_ids)
        self._stops = StopStrings(request.stop, include_stop=request.include_stop)

    def push(self, event: TokenEvent) -> Delta:
        """The delta of one event; its text may be empty while characters are held back."""
        self.num_cached = max(self.num_cached, event.num_cached_tokens)
        self.num_tokens += event.token_id is not None
        text = self._text(event)
        if self._stops.stopped is not None:
            return self._stop_string(event, text)
        if event.finish_reason is None:
            return self._delta(event, text)
        self.finished = True
        return self._delta(event, text, stop_reason=self._stop_token(event))

    def _text(self, event: TokenEvent) -> str:
        text = ""
        if event.token_id is not None and not event.stop_token:
            text = self._stops.push(self._detokenizer.push(event.token_id))
        if event.finish_reason is not None and self._stops.stopped is None:
            text += self._stops.push(self._detokenizer.flush())
            if self._stops.stopped is None:
                text += self._stops.flush()
        return text

    def _stop_string(self, event: TokenEvent, text: str) -> Delta:
        self.finished = True
        self.stopped_early = event.finish_reason is None
        return Delta(
            index=self.index,
            text=text,
            token_ids=_ids(event),
            logprobs=self._logprobs(event),
            finish_reason="stop",
            stop_reason=self._stops.stopped,
            prompt_logprobs=self._prompt_logprobs(event),
        )

    def _delta(self, event: TokenEvent, text: str, stop_reason: int | None = None) -> Delta:
        return Delta(
            index=self.index,
            text=text,
            token_ids=() if event.stop_token else _ids(event),
            logprobs=() if event.stop_token else self._logprobs(event),
            finish_reason=event.finish_reason,
            stop_reason=stop_reason,
            prompt_logprobs=self._prompt_logprobs(event),
            error=event.error,
        )

    def _stop_token(self, event: TokenEvent) -> int | None:
        """Only ids the caller asked for are reported; end of text is the model's own way to end."""
        asked_for = event.stop_token and event.token_id in self._request.sampling.stop_token_ids
        return event.token_id if asked_for else None

    def _logprobs(self, event: TokenEvent) -> tuple[Logprob, ...]:
        if event.token_id is None or event.logprob is None:
            return ()
        top = tuple(self._logprob(each) for each in event.top_logprobs)
        return (self._logprob(TokenLogprob(event.token_id, event.logprob), top),)

    def _logprob(self, token: TokenLogprob, top: tuple[Logprob, ...] = ()) -> Logprob:
        return Logprob(
            token_id=token.token_id,
            text=self._tokenizer.token_text(token.token_id),
            bytes=self._tokenizer.token_bytes(token.token_id),
            logprob=token.logprob,
            top=top,
        )

    def _prompt_logprobs(self, event: TokenEvent) -> tuple[Logprob | None, ...] | None:
        if event.prompt_logprobs is None:
            return None
        return (None, *(self._ranked(position) for position in event.prompt_logprobs))

    def _ranked(self, position: tuple[TokenLogprob, ...]) -> Logprob:
        own, *top = position
        return self._logprob(own, tuple(self._logprob(each) for each in top))


def _ids(event: TokenEvent) -> tuple[int, ...]:
    return () if event.token_id is None else (event.token_id,)
