"""Server-sent events: the only place that writes a frame.

A stream is `data:` frames, comments while nothing happens, and `[DONE]`. A failure after the first
byte becomes an error frame, so that every stream has a proper end.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any, TypeAlias

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from fairway.server.disconnect import ClientGone, unless_gone
from fairway.server.errors import error_body, hidden
from fairway.server.json_response import encode

DONE = b"data: [DONE]\n\n"
HEARTBEAT = b": still here\n\n"

Payloads: TypeAlias = AsyncGenerator[Iterable[Mapping[str, Any]], None]
log = logging.getLogger("fairway.server")


def frame(payload: Mapping[str, Any]) -> bytes:
    return b"data: " + encode(payload) + b"\n\n"


class EventStream(Response):
    """Sends payloads as they come, and calls `on_close` at the end, whatever the end is."""

    media_type = "text/event-stream"

    def __init__(
        self, payloads: Payloads, on_close: Callable[[], None], *, heartbeat_s: float, send_timeout_s: float
    ) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._payloads = payloads
        self._on_close = on_close
        self._heartbeat_s = heartbeat_s
        self._send_timeout_s = send_timeout_s
        self._last_frame_s = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        try:
            await unless_gone(receive, self._send_all(send))
        finally:
            self._on_close()

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        beating = asyncio.ensure_future(self._beat(send))
        try:
            await self._send_payloads(send)
        finally:
            beating.cancel()
        await self._send_frame(send, DONE)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_payloads(self, send: Send) -> None:
        try:
            async with aclosing(self._payloads) as batches:
                async for payloads in batches:
                    if frames := b"".join(map(frame, payloads)):
                        await self._send_frame(send, frames)
        except ClientGone:
            raise
        except Exception as error:
            shown = hidden(error)
            if shown is not error:
                log.exception("An answer failed while it was sent.")
            await self._send_frame(send, frame(error_body(shown)))

    async def _beat(self, send: Send) -> None:
        loop = asyncio.get_running_loop()
        self._last_frame_s = loop.time()
        while True:
            await asyncio.sleep(self._heartbeat_s)
            if loop.time() - self._last_frame_s >= self._heartbeat_s:
                await send(_body(HEARTBEAT))

    async def _send_frame(self, send: Send, frames: bytes) -> None:
        """A reader that stalls too long counts as gone. A timer is cheaper than a task per frame."""
        loop = asyncio.get_running_loop()
        deadline = _Deadline(asyncio.current_task())
        timer = loop.call_later(self._send_timeout_s, deadline.pass_)
        try:
            await send(_body(frames))
        except asyncio.CancelledError:
            if deadline.passed:
                raise ClientGone from None
            raise
        finally:
            timer.cancel()
        self._last_frame_s = loop.time()


class _Deadline:
    """Cancels a task, and remembers that it was this deadline that did."""

    def __init__(self, task: asyncio.Task[Any] | None) -> None:
        self.passed = False
        self._task = task

    def pass_(self) -> None:
        self.passed = True
        if self._task is not None:
            self._task.cancel()


def _body(content: bytes) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, "more_body": True}
