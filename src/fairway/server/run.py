"""Runs an app until it is told to stop: in the foreground for the command line, or on a thread.

Stopping drains: no new answers, time for running ones, then each gets an end its client can read.
The caller owns the runtimes and closes them afterwards.
"""

from __future__ import annotations

import asyncio
import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socket import socket
from types import FrameType, TracebackType

import uvicorn
from starlette.applications import Starlette

from fairway.errors import InternalError
from fairway.server.connection import protocol_for
from fairway.server.drain import Drain
from fairway.server.listening import Address, listen
from fairway.server.services import Services
from fairway.server.settings import ServerSettings

OnReady = Callable[[Address], None]
# After the drain, answers have this long to send their last words.
LAST_WORDS_S = 5


def serve(app: Starlette, settings: ServerSettings | None = None, on_ready: OnReady | None = None) -> None:
    """Serves until SIGINT or SIGTERM. `on_ready` gets the real address once it answers."""
    settings = settings or _settings_of(app)
    opened, address = listen(settings)
    _Server(app, settings, lambda: on_ready(address) if on_ready else None).run(sockets=[opened])


class ServerThread:
    """Serves on a thread, for tests and for measuring over HTTP. Use it in a `with`."""

    def __init__(self, app: Starlette, settings: ServerSettings | None = None) -> None:
        settings = settings or _settings_of(app)
        self._socket, self.address = listen(settings)
        self._ready = threading.Event()
        self._server = _Server(app, settings, self._ready.set)
        self._thread = threading.Thread(target=self._run, name="fairway-server", daemon=True)

    @property
    def url(self) -> str:
        return self.address.url

    @property
    def num_connections(self) -> int:
        return len(self._server.server_state.connections)

    def __enter__(self) -> ServerThread:
        self._thread.start()
        if not self._ready.wait(30):
            raise InternalError("The server did not start within 30 seconds.")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._thread.join()

    def stop(self) -> None:
        """Begins to drain; returns at once."""
        self._server.should_exit = True

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])


class _Server(uvicorn.Server):
    """uvicorn's server with our drain, and signals that end it without ending the process."""

    def __init__(self, app: Starlette, settings: ServerSettings, on_ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol_for(settings),
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="error",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=math.ceil(settings.keep_alive_s),
                timeout_graceful_shutdown=math.ceil(settings.drain_s) + LAST_WORDS_S,
            )
        )
        services: Services = app.state.services
        self._drain: Drain = services.drain
        self._tuning = services.tuning
        self._drain_s = settings.drain_s
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await asyncio.to_thread(self._tuning.start)
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        self._drain.stop()
        timer = asyncio.get_running_loop().call_later(self._drain_s, self._drain.abort)
        try:
            await super().shutdown(sockets)
        finally:
            timer.cancel()
            self._drain.abort()
            await asyncio.to_thread(self._tuning.close)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but the signal is not raised again: the caller still has models to close."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {each: signal.signal(each, self._stop) for each in signals}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        """A second Ctrl-C does not wait for the drain."""
        self.handle_exit(signum, frame)


def _settings_of(app: Starlette) -> ServerSettings:
    services: Services = app.state.services
    return services.settings
