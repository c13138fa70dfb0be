"""API keys. Deny by default: with keys set, every path needs one except those listed as open.

Keys are compared by digest, all of them, in constant time; none is ever logged or echoed.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from fairway.errors import NotAuthorized

HINT = "Send it as 'Authorization: Bearer KEY' or 'x-api-key: KEY'."


class KeyLayer:
    """ASGI middleware. `open_paths` are whole paths, compared exactly."""

    def __init__(self, app: ASGIApp, keys: Collection[str], open_paths: Collection[str]) -> None:
        self._app = app
        self._digests = [_digest(key) for key in keys]
        self._open_paths = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._digests and scope["path"] not in self._open_paths:
            self._check(_key_of(Headers(scope=scope)))
        await self._app(scope, receive, send)

    def _check(self, key: str) -> None:
        if not key:
            raise NotAuthorized("This server needs an API key.", hint=HINT)
        digest = _digest(key)
        matches = [hmac.compare_digest(digest, each) for each in self._digests]
        if not any(matches):
            raise NotAuthorized("The API key is not known here.", hint=HINT)


def _key_of(headers: Headers) -> str:
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    return headers.get("x-api-key", "").strip()


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
