"""One accepted request while it is answered: its generations, observed, counted and cancellable.

Whoever creates one closes it. Closing cancels whatever still runs and counts it as aborted, so a
client that leaves at any moment costs nothing and is seen in the metrics.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

from fairway.errors import Busy, FairwayError, InternalError
from fairway.runtimes.protocol import Delta, Generation
from fairway.server.meter import Meter
from fairway.server.services import Services


class Running:
    """Generations to one or more prompts; deltas come with the number of their prompt."""

    def __init__(self, services: Services, generations: Sequence[Generation], meter: Meter) -> None:
        self._drain = services.drain
        self._generations = list(generations)
        self._meter = meter
        self._reason: FairwayError | None = None
        self._drain.enter(self)

    async def deltas(self) -> AsyncGenerator[tuple[int, Delta], None]:
        """Every delta of every answer. Raises what ended an answer that nobody asked to end."""
        async with aclosing(_merged(self._generations)) as merged:
            async for prompt, delta in merged:
                self._meter.observe(prompt, delta)
                if delta.finish_reason == "error":
                    raise InternalError(f"The engine could not go on: {delta.error or 'no reason given'}.")
                if delta.finish_reason == "abort":
                    raise self._reason or Busy("The engine ended this answer early.", hint="Ask again.")
                yield prompt, delta
        if self._reason is not None:
            raise self._reason

    def abort(self, reason: Busy) -> None:
        """Ends the answer from outside; its client is told `reason`."""
        self._reason = reason
        self._cancel()

    def close(self) -> None:
        """Safe to call twice."""
        self._cancel()
        self._meter.close()
        self._drain.leave(self)

    def _cancel(self) -> None:
        for generation in self._generations:
            generation.cancel()


async def _merged(generations: Sequence[Generation]) -> AsyncGenerator[tuple[int, Delta], None]:
    """The deltas of all generations in the order they come."""
    if len(generations) == 1:
        async with aclosing(_each(generations[0])) as deltas:
            async for delta in deltas:
                yield 0, delta
        return
    queue: asyncio.Queue[tuple[int, Delta] | BaseException | None] = asyncio.Queue()
    pumps = [asyncio.ensure_future(_pump(each, at, queue)) for at, each in enumerate(generations)]
    try:
        left = len(pumps)
        while left:
            item = await queue.get()
            if item is None:
                left -= 1
            elif isinstance(item, BaseException):
                raise item
            else:
                yield item
    finally:
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


async def _pump(
    generation: Generation, at: int, queue: asyncio.Queue[tuple[int, Delta] | BaseException | None]
) -> None:
    try:
        async with aclosing(_each(generation)) as deltas:
            async for delta in deltas:
                queue.put_nowait((at, delta))
    except Exception as error:  # noqa: BLE001  handed to the reader, who raises it
        queue.put_nowait(error)
    else:
        queue.put_nowait(None)


async def _each(generation: Generation) -> AsyncGenerator[Delta, None]:
    """Iterates and leaves nothing open behind, whichever kind of iterator it is."""
    iterator: AsyncIterator[Delta] = aiter(generation)
    try:
        async for delta in iterator:
            yield delta
    finally:
        generation.cancel()
        if isinstance(iterator, AsyncGenerator):
            await iterator.aclose()
