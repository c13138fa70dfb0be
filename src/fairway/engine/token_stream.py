"""One request's events on their way from the worker thread to whoever reads them.

Read it with `for` or with `async for`, from one place, once. Nothing polls: a blocked thread sleeps
on a queue, a waiting task is woken by its own loop. The rule: a reader that goes away, by leaving,
by being cancelled or by being forgotten, aborts the request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import TracebackType

from fairway.engine.events import FinishReason, TokenEvent


class Mailbox:
    """The worker's end: events go in here. Outlives the reader, and does not keep it alive."""

    def __init__(self) -> None:
        self.events: SimpleQueue[TokenEvent] = SimpleQueue()
        self.loop: asyncio.AbstractEventLoop | None = None
        """Set while a task waits for the next event."""
        self.arrived: asyncio.Event | None = None

    def put(self, event: TokenEvent) -> asyncio.AbstractEventLoop | None:
        """Leaves an event; returns the loop in which someone waits for it, for `wake`."""
        self.events.put(event)
        return self.loop

    def wake_reader(self) -> None:
        """In the reader's loop only."""
        if self.arrived is not None:
            self.arrived.set()


def deliver(post: Iterable[tuple[Mailbox, TokenEvent]]) -> None:
    """Puts events into mailboxes and wakes each event loop once, however many streams it reads."""
    sleeping: dict[asyncio.AbstractEventLoop, list[Mailbox]] = {}
    for mailbox, event in post:
        loop = mailbox.put(event)
        if loop is not None:
            sleeping.setdefault(loop, []).append(mailbox)
    for loop, mailboxes in sleeping.items():
        try:
            loop.call_soon_threadsafe(_wake_all, mailboxes)
        except RuntimeError:  # the loop is closed
            _let_go(mailboxes)


def _wake_all(mailboxes: list[Mailbox]) -> None:
    for mailbox in mailboxes:
        mailbox.wake_reader()


def _let_go(mailboxes: list[Mailbox]) -> None:
    """Nobody can wake these readers; without us they are forgotten, and abort."""
    for mailbox in mailboxes:
        mailbox.loop = mailbox.arrived = None


class TokenStream:
    """The reader's end. Ends after the event with a finish reason."""

    def __init__(self, request_id: str, mailbox: Mailbox, stop: Callable[[str, FinishReason], None]) -> None:
        self.request_id = request_id
        self._mailbox = mailbox
        self._stop = stop
        self._ended = False
        self._cancelled = False

    def cancel(self, reason: FinishReason = "abort") -> None:
        """Ends the request within one step; "stop" counts it as an answer that was complete.

        Safe from any thread, twice, and after the end. What was chosen before may still be read.
        """
        if not self._ended and not self._cancelled:
            self._cancelled = True
            self._stop(self.request_id, reason)

    def __iter__(self) -> Iterator[TokenEvent]:
        return self

    def __next__(self) -> TokenEvent:
        if self._ended:
            raise StopIteration
        return self._seen(self._mailbox.events.get())

    def __aiter__(self) -> AsyncIterator[TokenEvent]:
        return self

    async def __anext__(self) -> TokenEvent:
        """Cancelling this aborts the request: wait on a task of it to give up waiting only."""
        if self._ended:
            raise StopAsyncIteration
        while True:
            with suppress(Empty):
                return self._seen(self._mailbox.events.get_nowait())
            await self._arrival()

    async def _arrival(self) -> None:
        mailbox = self._mailbox
        arrived = mailbox.arrived = asyncio.Event()
        mailbox.loop = asyncio.get_running_loop()
        try:
            if mailbox.events.empty():  # what came before `loop` was set woke nobody
                await arrived.wait()
        except asyncio.CancelledError:
            self.cancel()
            raise
        finally:
            mailbox.loop = None

    def _seen(self, event: TokenEvent) -> TokenEvent:
        self._ended = event.finish_reason is not None
        return event

    def __enter__(self) -> TokenStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    async def __aenter__(self) -> TokenStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    def __del__(self) -> None:
        self.cancel()
