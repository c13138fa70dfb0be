"""Reading a request's body: how large, what kind, and whether it is JSON at all.

The limit holds while bytes arrive, with or without Content-Length. The parser refuses what JSON
does not know (NaN, broken UTF-8, lone surrogates) and nesting beyond 200 levels.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request

from fairway.errors import RequestError, RequestTooLarge
from fairway.server.disconnect import ClientGone
from fairway.server.errors import WrongContentType


async def read_json_object(request: Request, max_bytes: int) -> dict[str, Any]:
    """The body as a dict."""
    _check_kind(request.headers)
    body = await _read(request, max_bytes)
    try:
        value = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise RequestError(f"The body is not valid JSON: {error}.") from None
    if not isinstance(value, dict):
        raise RequestError("The body must be a JSON object.", hint="Start it with { and end it with }.")
    return value


def _check_kind(headers: Headers) -> None:
    kind, _, options = headers.get("content-type", "").partition(";")
    if kind.strip().lower() != "application/json":
        named = f"is {kind.strip()[:60]}" if kind else "is missing"
        raise WrongContentType(f"The header Content-Type {named}.", hint="Send application/json.")
    charset = options.strip().lower().replace('"', "")
    if charset.startswith("charset=") and charset not in ("charset=utf-8", "charset=utf8"):
        raise WrongContentType(f"The body is said to be {charset[:40]}.", hint="Send UTF-8.")
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise WrongContentType(f"The body is compressed ({encoding[:40]}).", hint="Send it as it is.")


async def _read(request: Request, max_bytes: int) -> bytes:
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced[:20]) > max_bytes:
        raise _too_large(max_bytes, f"{announced[:20]} bytes")
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > max_bytes:
                raise _too_large(max_bytes, f"more than {max_bytes} bytes")
    except ClientDisconnect:
        raise ClientGone from None
    return bytes(body)


def _too_large(max_bytes: int, size: str) -> RequestTooLarge:
    return RequestTooLarge(f"The body is {size}; the limit is {max_bytes}.", hint="Raise max_body_bytes.")
