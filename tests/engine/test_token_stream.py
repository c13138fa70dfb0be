from __future__ import annotations

import asyncio
import gc
import threading
from queue import Empty

import pytest

from fairway.engine.events import TokenEvent
from fairway.engine.token_stream import Mailbox, TokenStream, deliver

pytestmark = pytest.mark.timeout(60)
EVENTS = [TokenEvent("a", token_id=n) for n in range(3)] + [
    TokenEvent("a", token_id=3, finish_reason="length")
]


class Stops:
    """Collects what a stream asks to stop."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def __call__(self, request_id: str, reason: str) -> None:
        self.calls.append((request_id, reason))


class LateQueue:
    """Is found empty, and is not empty any more before anyone can say that they wait."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.queue, self.mailbox, self.late = mailbox.events, mailbox, True

    def get_nowait(self) -> TokenEvent:
        if self.late:
            self.late = False
            assert self.mailbox.loop is None
            self.queue.put(EVENTS[-1])
            raise Empty
        return self.queue.get_nowait()

    def empty(self) -> bool:
        return self.queue.empty()


def stream_with(events=EVENTS) -> tuple[TokenStream, Mailbox, Stops]:
    mailbox, stops = Mailbox(), Stops()
    deliver((mailbox, event) for event in events)
    return TokenStream("a", mailbox, stops), mailbox, stops


async def read_all(stream: TokenStream) -> list[TokenEvent]:
    return [event async for event in stream]


async def waits(mailbox: Mailbox) -> None:
    """Until somebody waits at `mailbox`."""
    while mailbox.loop is None:
        await asyncio.sleep(0)


def test_a_thread_reads_to_the_end() -> None:
    stream, _, stops = stream_with()
    assert list(stream) == EVENTS
    assert list(stream) == []
    stream.cancel()
    del stream
    assert stops.calls == []


def test_a_task_reads_to_the_end() -> None:
    stream, _, stops = stream_with()
    assert asyncio.run(read_all(stream)) == EVENTS
    assert asyncio.run(read_all(stream)) == []
    del stream
    assert stops.calls == []


def test_a_sleeping_thread_is_woken() -> None:
    stream, mailbox, _ = stream_with([])
    found: list[TokenEvent] = []
    reader = threading.Thread(target=lambda: found.extend(stream))
    reader.start()
    for event in EVENTS:
        deliver([(mailbox, event)])
    reader.join()
    assert found == EVENTS


def test_a_waiting_task_is_woken_from_another_thread_for_every_event() -> None:
    async def main() -> list[TokenEvent]:
        stream, mailbox, _ = stream_with([])
        reader = asyncio.create_task(read_all(stream))
        for event in EVENTS:
            await waits(mailbox)
            await asyncio.to_thread(deliver, [(mailbox, event)])
        return await reader

    assert asyncio.run(main()) == EVENTS


def test_no_event_is_missed_however_deliveries_and_waits_interleave() -> None:
    number = 5000

    async def main() -> int:
        stream, mailbox, _ = stream_with([])
        reader = asyncio.create_task(read_all(stream))
        events = [TokenEvent("a", token_id=n) for n in range(number)] + [
            TokenEvent("a", finish_reason="length")
        ]
        writer = threading.Thread(target=lambda: [deliver([(mailbox, event)]) for event in events])
        writer.start()
        return len(await reader)

    assert asyncio.run(main()) == number + 1


def test_an_event_that_comes_just_before_the_task_waits_is_seen() -> None:
    stream, mailbox, _ = stream_with([])
    mailbox.events = LateQueue(mailbox)
    assert asyncio.run(asyncio.wait_for(read_all(stream), 10)) == EVENTS[-1:]


def test_one_loop_is_woken_once_for_all_its_streams(monkeypatch) -> None:
    async def main() -> int:
        streams = [stream_with([]) for _ in range(20)]
        readers = [asyncio.create_task(read_all(stream)) for stream, _, _ in streams]
        for _, mailbox, _ in streams:
            await waits(mailbox)
        loop = asyncio.get_running_loop()
        calls = []
        wake = loop.call_soon_threadsafe
        monkeypatch.setattr(loop, "call_soon_threadsafe", lambda *args: calls.append(args) or wake(*args))
        deliver((mailbox, EVENTS[-1]) for _, mailbox, _ in streams)
        monkeypatch.undo()
        await asyncio.gather(*readers)
        return len(calls)

    assert asyncio.run(main()) == 1


def test_a_reader_that_leaves_and_is_forgotten_aborts() -> None:
    stream, _, stops = stream_with()
    for _ in stream:
        break
    del stream
    assert stops.calls == [("a", "abort")]


def test_a_task_that_is_cancelled_aborts_at_once() -> None:
    async def main() -> None:
        stream, mailbox, stops = stream_with([])
        reader = asyncio.create_task(read_all(stream))
        await waits(mailbox)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        assert stops.calls == [("a", "abort")]

    asyncio.run(main())


def test_a_with_block_aborts_when_it_is_left_early() -> None:
    stream, _, stops = stream_with()
    with stream as same:
        next(same)
    assert stops.calls == [("a", "abort")]

    async def main() -> list[tuple[str, str]]:
        stream, _, stops = stream_with()
        async with stream as same:
            await anext(same)
        return stops.calls

    assert asyncio.run(main()) == [("a", "abort")]


def test_an_answer_that_is_complete_is_ended_as_stop() -> None:
    stream, _, stops = stream_with()
    next(stream)
    stream.cancel("stop")
    assert stops.calls == [("a", "stop")]
    assert list(stream) == EVENTS[1:]


def test_a_loop_that_was_closed_under_its_reader_harms_nobody() -> None:
    loop = asyncio.new_event_loop()
    stream, mailbox, stops = stream_with([])
    reader = loop.create_task(read_all(stream))
    loop.run_until_complete(waits(mailbox))
    loop.close()
    deliver([(mailbox, EVENTS[0])])
    reader._log_destroy_pending = False
    del reader, stream
    gc.collect()
    assert ("a", "abort") in stops.calls
