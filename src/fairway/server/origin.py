"""Which web pages may use the server, and under which names it answers.

A page in someone's browser can reach a server on their machine. Without a key the only protection
is to look at two headers: `Origin` says which page asks, and `Host` betrays a foreign name that was
pointed at this address (DNS rebinding). With a key, names do not matter: such a page has no key.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from fairway.server.errors import OriginRefused
from fairway.server.settings import ServerSettings

DEFAULT_PORTS = {"http": "80", "https": "443"}


class OriginLayer:
    """ASGI middleware. Refuses foreign pages and names; answers preflights of allowed pages."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app = app
        self._has_keys = settings.has_keys
        self._origins = frozenset(origin.rstrip("/").lower() for origin in settings.allowed_origins)
        self._hosts = frozenset(host.lower() for host in (*settings.allowed_hosts, settings.host))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        self._check_host(host)
        if origin is None or _is_same(origin, host):
            await self._app(scope, receive, send)
            return
        self._check_origin(origin)
        scope["state"]["answer_headers"] = _cross_origin_headers(origin)
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await Response(status_code=204, headers=_preflight(headers))(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _check_host(self, host: str) -> None:
        """Addresses, names without a dot and *.localhost belong to no stranger's domain."""
        name = _name_of(host).lower().rstrip(".")
        is_ours = not name or "." not in name or name.endswith(".localhost") or _is_address(name)
        if self._has_keys or is_ours or name in self._hosts or "*" in self._hosts:
            return
        raise OriginRefused(
            f"This server does not answer to the name {name[:100]!r}.",
            hint="Name it in FAIRWAY_SERVER_ALLOWED_HOSTS, or set a key.",
        )

    def _check_origin(self, origin: str) -> None:
        if "*" not in self._origins and origin.lower() not in self._origins:
            raise OriginRefused(
                f"Pages of {origin[:100]!r} may not use this server.",
                hint="Allow it with --allow-origin.",
            )


def _cross_origin_headers(origin: str) -> dict[str, str]:
    """On every answer to an allowed page, errors included; the request layer adds them."""
    return {
        "access-control-allow-origin": origin,
        "access-control-expose-headers": "x-request-id, retry-after",
        "vary": "Origin",
    }


def _preflight(headers: Headers) -> dict[str, str]:
    """The origin is trusted, so any header it asks for is."""
    return {
        "access-control-allow-methods": "GET, POST, OPTIONS",
        "access-control-allow-headers": headers.get("access-control-request-headers", "*"),
        "access-control-max-age": "600",
    }


def _is_same(origin: str, host: str) -> bool:
    """The page came from this very server, perhaps through a proxy that speaks TLS."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return False
    if not parts.hostname or parts.scheme not in DEFAULT_PORTS:
        return False
    default = DEFAULT_PORTS[parts.scheme]
    name, given = _name_of(host).lower(), _port_of(host) or default
    return parts.hostname.lower() == name and str(port or default) == given


def _name_of(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _port_of(host: str) -> str:
    return host.rpartition("]")[2].partition(":")[2]


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
