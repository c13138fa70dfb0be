"""Failures as clients of OpenAI's API expect them.

Status, type and message come from the error itself (`fairway.errors`); this module adds the shape
`{"error": {...}}`, the machine-readable code and the headers. Nothing internal is ever shown.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from fairway.errors import (
    Busy,
    ContextExceeded,
    FairwayError,
    InternalError,
    MissingExtra,
    ModelNotFound,
    NotAuthorized,
    RequestError,
    RequestTooLarge,
    UnsupportedError,
)
from fairway.server.json_response import JsonResponse
from fairway.tune.jobs.errors import FileMissing, InvalidFile, JobMissing, WrongStatus


class RouteNotFound(RequestError):
    """Nothing is served at that path."""

    status = 404


class MethodNotAllowed(RequestError):
    """The path exists, but not with that method."""

    status = 405

    def __init__(self, message: str, allow: str) -> None:
        super().__init__(message)
        self.allow = allow


class WrongContentType(RequestError):
    """The body is not UTF-8 JSON, or is compressed."""

    status = 415


class HeadersTooLarge(RequestTooLarge):
    """Request line and headers are above their limit."""

    status = 431


class ReadTimeout(RequestError):
    """The client took too long to send its request."""

    status = 408


class OriginRefused(RequestError):
    """A web page of another origin, or a name this server does not answer to."""

    status = 403
    openai_type = "permission_error"


class LoadingRefused(RequestError):
    """This server loads no adapters, or none from there."""

    status = 403
    openai_type = "permission_error"


class TuningRefused(RequestError):
    """This server takes no files and trains no models."""

    status = 403
    openai_type = "permission_error"


class DeletionRefused(RequestError):
    """A model that no fine-tuning job made."""

    status = 403
    openai_type = "permission_error"


CODES: tuple[tuple[type[FairwayError], str], ...] = (
    (ContextExceeded, "context_length_exceeded"),
    (ModelNotFound, "model_not_found"),
    (NotAuthorized, "invalid_api_key"),
    (Busy, "overloaded"),
    (HeadersTooLarge, "headers_too_large"),
    (RequestTooLarge, "request_too_large"),
    (RouteNotFound, "route_not_found"),
    (MethodNotAllowed, "method_not_allowed"),
    (WrongContentType, "wrong_content_type"),
    (ReadTimeout, "read_timeout"),
    (OriginRefused, "origin_refused"),
    (LoadingRefused, "loading_refused"),
    (TuningRefused, "fine_tuning_refused"),
    (DeletionRefused, "deletion_refused"),
    (InvalidFile, "invalid_file"),
    (FileMissing, "file_not_found"),
    (JobMissing, "fine_tune_not_found"),
    (WrongStatus, "invalid_status"),
    (MissingExtra, "missing_extra"),
    (UnsupportedError, "unsupported"),
    (InternalError, "internal_error"),
)


def error_body(error: FairwayError) -> dict[str, Any]:
    """The JSON object a client sees, as an answer or as an event in a stream."""
    code = next((code for cls, code in CODES if isinstance(error, cls)), None)
    return {
        "error": {
            "message": str(error),
            "type": error.openai_type,
            "param": error.param,
            "code": code,
        }
    }


def error_headers(error: FairwayError) -> dict[str, str]:
    """What the status alone does not say. Clients would repeat a 501, which never helps."""
    if isinstance(error, Busy):
        return {"retry-after": str(error.retry_after_s)}
    if isinstance(error, NotAuthorized):
        return {"www-authenticate": "Bearer"}
    if isinstance(error, MethodNotAllowed):
        return {"allow": error.allow}
    if isinstance(error, RequestTooLarge | ReadTimeout):
        return {"connection": "close"}
    if isinstance(error, UnsupportedError | MissingExtra):
        return {"x-should-retry": "false"}
    return {}


def error_response(error: FairwayError) -> Response:
    return JsonResponse(error_body(error), error.status, headers=error_headers(error))


def hidden(error: BaseException) -> FairwayError:
    """What a client may see of any exception: our own errors as they are, nothing of the others."""
    if isinstance(error, FairwayError):
        return error
    return InternalError("Something went wrong on the server; its log says what.")
