"""Limits on a connection that hold before there is a request: sizes and times of what is read.

uvicorn waits forever for a first byte or for the rest of a header, and keeps any number of header
bytes. This protocol adds the two limits, answers broken HTTP in the shape of every other error, and
closes so that a client still sending gets to read the answer. It knows nothing of models.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fairway.errors import FairwayError, RequestError
from fairway.server.errors import HeadersTooLarge, ReadTimeout, error_body, error_headers
from fairway.server.json_response import encode
from fairway.server.settings import ServerSettings

LINGER_S = 2.0
"""How long a refused client may go on sending before the connection is cut."""
PROGRESS_BYTES = 64 << 10
"""A body that brings this much per read timeout may take longer than one."""
REASONS = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits. `protocol_for` fills in the settings."""

    max_header_bytes: ClassVar[int]
    max_body_bytes: ClassVar[int]
    read_timeout_s: ClassVar[float]
    send_timeout_s: ClassVar[float]

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  uvicorn's own signature
        super().__init__(*args, **kwargs)
        self.reading = True
        """A request is expected or not read to its end."""
        self._in_headers = True
        self._header_bytes = 0
        self._body_bytes = 0
        self._progress_bytes = 0
        self._refusal: FairwayError | None = None
        self._read_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(LingeringTransport(transport, self))  # type: ignore[arg-type]
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_headers:
            self._header_bytes += len(data)
            if self._header_bytes > self.max_header_bytes:
                self.refuse(self._too_large())
        is_idle = self.cycle is None or self.cycle.response_complete
        if self.reading or (is_idle and self.timeout_keep_alive_task is None):
            self._arm()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.reading = self._in_headers = True
        self._header_bytes = self._body_bytes = self._progress_bytes = 0
        self.scope["state"]["hang_up"] = self.hang_up

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.max_header_bytes:
            self._refusal = self._too_large()
            raise self._refusal
        self._in_headers = False
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        self._progress_bytes += len(body)
        if self.cycle.response_complete and self._body_bytes > self.max_body_bytes:
            self.transport.close()
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.reading = False
        self._disarm()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  uvicorn's words are not shown
        self.refuse(self._refusal or RequestError("This is not valid HTTP."))

    def refuse(self, error: FairwayError) -> None:
        """Answers without the app, unless the app is already answering, and closes."""
        cycle = self.cycle
        is_answering = cycle is not None and not cycle.response_complete
        if is_answering:
            cycle.disconnected = True
            cycle.message_event.set()
        if not (is_answering and cycle.response_started):
            self.transport.write(_raw_response(error))
        self.transport.close()

    def hang_up(self) -> None:
        """For a client that does not read: nothing more is sent, and what was written is dropped."""
        if self.cycle is not None:
            self.cycle.disconnected = True
        self.transport.abort()

    def _too_large(self) -> HeadersTooLarge:
        return HeadersTooLarge(f"The request line and headers are above {self.max_header_bytes} bytes.")

    def _arm(self) -> None:
        if self._read_timer is None:
            self._read_timer = self.loop.call_later(self.read_timeout_s, self._read_timed_out)

    def _disarm(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _read_timed_out(self) -> None:
        self._read_timer = None
        if self._progress_bytes >= PROGRESS_BYTES or self.pipeline:
            self._progress_bytes = 0
            self._arm()
        elif self._header_bytes or not self._in_headers:
            self.refuse(ReadTimeout(f"The request was not complete after {self.read_timeout_s:g} seconds."))
        else:
            self.transport.close()


class LingeringTransport:
    """A transport whose `close` lets a client that is still sending read the answer first.

    Closing a socket with unread bytes resets the connection, and the answer with it. So half is
    closed, what still comes is dropped, and the rest is closed when the client is done or too slow.
    """

    def __init__(self, transport: asyncio.Transport, protocol: LimitedProtocol) -> None:
        self._transport = transport
        self._protocol = protocol
        self._is_closing = False

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  everything else is the transport's
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """asyncio logs a warning for each write to a client that has just left."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def is_closing(self) -> bool:
        return self._is_closing or self._transport.is_closing()

    def close(self) -> None:
        if self._is_closing:
            return
        self._is_closing = True
        later = self._protocol.loop.call_later
        if self._protocol.reading and not self._transport.is_closing():
            self._transport.write_eof()
            self._transport.resume_reading()
            later(LINGER_S, self._transport.close)
        else:
            self._transport.close()
        if self._transport.get_write_buffer_size():
            later(self._protocol.send_timeout_s, self._transport.abort)


def protocol_for(settings: ServerSettings) -> type[LimitedProtocol]:
    """The protocol class uvicorn makes one instance of per connection."""
    names = ("max_header_bytes", "max_body_bytes", "read_timeout_s", "send_timeout_s")
    limits = {name: getattr(settings, name) for name in names}
    return type("Protocol", (LimitedProtocol,), limits)


def _raw_response(error: FairwayError) -> bytes:
    body = encode(error_body(error))
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        **error_headers(error),
        "connection": "close",
    }
    lines = [f"HTTP/1.1 {error.status} {REASONS.get(error.status, 'Error')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body
