"""A generation on the native engine: one or more answers to one prompt, as a stream of deltas.

Reads the engine's token streams, either way (plain or async iteration), and tells the engine when
an answer ends early. Leaving the iteration, for whatever reason, cancels what still runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace

from fairway.engine.events import TokenEvent
from fairway.engine.token_stream import TokenStream
from fairway.runtimes.answer import Answer
from fairway.runtimes.protocol import Delta, GenerationRequest, Usage
from fairway.text.tokenizer import Tokenizer


class NativeGeneration:
    """`runtimes.protocol.Generation` over token streams, one stream per answer."""

    def __init__(
        self, request: GenerationRequest, streams: Sequence[TokenStream], tokenizer: Tokenizer
    ) -> None:
        self._request = request
        self._streams = list(streams)
        self._answers = [Answer(index, request, tokenizer) for index in range(len(streams))]

    def __iter__(self) -> Iterator[Delta]:
        try:
            for answer, stream in zip(self._answers, self._streams, strict=True):
                for event in stream:
                    yield self._push(answer, event)
                    if answer.finished:
                        break
        finally:
            self.cancel()

    async def __aiter__(self) -> AsyncIterator[Delta]:
        try:
            events = self._one_stream() if len(self._streams) == 1 else self._all_streams()
            async with aclosing(events):
                async for index, event in events:
                    answer = self._answers[index]
                    if not answer.finished:
                        yield self._push(answer, event)
                    if self._all_finished():
                        break
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Aborts every answer that is not finished."""
        for answer, stream in zip(self._answers, self._streams, strict=True):
            if not answer.finished:
                stream.cancel()

    def _push(self, answer: Answer, event: TokenEvent) -> Delta:
        delta = answer.push(event)
        if answer.stopped_early:
            self._streams[answer.index].cancel(reason="stop")
        return replace(delta, usage=self._usage()) if self._all_finished() else delta

    def _all_finished(self) -> bool:
        return all(answer.finished for answer in self._answers)

    def _usage(self) -> Usage:
        return Usage(
            prompt_tokens=len(self._request.prompt_ids),
            completion_tokens=sum(answer.num_tokens for answer in self._answers),
            cached_tokens=self._answers[0].num_cached,
        )

    async def _one_stream(self) -> AsyncGenerator[tuple[int, TokenEvent], None]:
        async for event in self._streams[0]:
            yield 0, event

    async def _all_streams(self) -> AsyncGenerator[tuple[int, TokenEvent], None]:
        """Events of all streams in the order they come."""
        queue: asyncio.Queue[tuple[int, TokenEvent]] = asyncio.Queue()

        async def pump(index: int) -> None:
            async for event in self._streams[index]:
                queue.put_nowait((index, event))

        tasks = [asyncio.ensure_future(pump(index)) for index in range(len(self._streams))]
        try:
            while True:
                yield await queue.get()
        finally:
            for task in tasks:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*tasks, return_exceptions=True)
