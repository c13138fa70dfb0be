"""The outermost layer: gives each request an id, catches every failure, counts every answer.

Nothing below it has to render an error, and nothing above it ever sees one. A client that left
before the answer began is counted with status 499, so that statuses add up to requests.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fairway.errors import Busy, FairwayError
from fairway.server.disconnect import ClientGone
from fairway.server.drain import STOPPING
from fairway.server.errors import MethodNotAllowed, RouteNotFound, error_response, hidden
from fairway.server.metrics import Metrics

CLIENT_GONE = 499
USABLE_ID = re.compile(r"[\x21-\x7e]{1,128}")
UNMATCHED = "unmatched"
log = logging.getLogger("fairway.server")


class RequestLayer:
    """ASGI middleware; must be the outermost."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send)
        try:
            await self._app(scope, receive, exchange.send)
        except ClientGone:
            exchange.hang_up()
        except asyncio.CancelledError:
            await exchange.fail(Busy(STOPPING, hint="Ask again in a moment."), receive)
        except Exception as error:  # noqa: BLE001  the last line of defence; it is logged and told
            await exchange.fail(error, receive)
        finally:
            self._count(scope, exchange)

    def _count(self, scope: Scope, exchange: _Exchange) -> None:
        path = scope["state"].get("route", UNMATCHED)
        status = str(exchange.status or CLIENT_GONE)
        self._metrics.http_requests.labels(scope["method"], path, status).inc()


class _Exchange:
    """One request and what has been sent for it so far."""

    def __init__(self, scope: Scope, send: Send) -> None:
        named = Headers(scope=scope).get("x-request-id", "")
        self.id = named if USABLE_ID.fullmatch(named) else secrets.token_hex(12)
        self.status: int | None = None
        self._scope = scope
        self._send = send
        self._state: dict[str, Any] = scope.setdefault("state", {})
        self._state.update(arrived_s=time.perf_counter(), request_id=self.id)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self.id
            headers["x-content-type-options"] = "nosniff"
            headers.update(self._state.get("answer_headers", {}))
        await self._send(message)

    def hang_up(self) -> None:
        """The client left, or is there and reads no more; then the connection says so."""
        log.info("%s: the client left.", self.id)
        if self.status is not None and "hang_up" in self._state:
            self._state["hang_up"]()

    async def fail(self, error: BaseException, receive: Receive) -> None:
        shown = _shown(error, self._scope)
        if shown is not error and shown.status >= 500:
            path = self._scope["path"]
            log.error("%s: %s %r failed.", self.id, self._scope["method"], path, exc_info=error)
        if self.status is None:
            await error_response(shown)(self._scope, receive, self.send)


def _shown(error: BaseException, scope: Scope) -> FairwayError:
    if not isinstance(error, HTTPException):
        return hidden(error)
    path = scope["path"][:100]
    if error.status_code == 405:
        allow = (error.headers or {}).get("Allow", "")
        return MethodNotAllowed(f"{path} does not take {scope['method']}; it takes {allow}.", allow)
    return RouteNotFound(f"There is nothing at {path}.", hint="See /docs for what there is.")
