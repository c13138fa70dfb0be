"""One route, written once: the handler and everything the OpenAPI document says about it.

A dialect is a tuple of operations. The app makes routes of them and `openapi` makes the document,
so what is documented is what is served.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fairway.server.body import read_json_object
from fairway.server.services import Services
from fairway.server.validation import validate

Handler: TypeAlias = Callable[[Services, Request, Any], Awaitable[Response]]
"""Services, the request, and its checked body or query (None when the operation has none)."""


@dataclass(frozen=True)
class Operation:
    """A method on a path. Paths are Starlette's; the docstring of the handler is the summary."""

    method: str
    path: str
    tag: str
    handler: Handler
    body: type[BaseModel] | None = None
    form: type[BaseModel] | None = None
    """Of an operation that reads a multipart form by itself."""
    query: type[BaseModel] | None = None
    """What may follow the path behind a question mark; handed over as the body."""
    answer: type[BaseModel] | None = None
    """JSON answer; None: `media_type` as text."""
    event: type[BaseModel] | None = None
    """What each event of a stream holds, if the operation can stream."""
    media_type: str = "application/json"
    errors: tuple[int, ...] = ()
    needs_key: bool = True

    @property
    def summary(self) -> str:
        return (self.handler.__doc__ or "").strip().splitlines()[0].rstrip(".")

    @property
    def operation_id(self) -> str:
        return self.handler.__name__


def route(operation: Operation, services: Services) -> Route:
    """The operation as a Starlette route. Errors are rendered by the outermost layer."""

    async def endpoint(request: Request) -> Response:
        request.state.route = operation.path
        body = None
        if operation.body is not None:
            value = await read_json_object(request, services.settings.max_body_bytes)
            body = validate(operation.body, value)
        elif operation.query is not None:
            body = validate(operation.query, dict(request.query_params))
        return await operation.handler(services, request, body)

    return Route(operation.path, endpoint, methods=[operation.method], name=operation.operation_id)
