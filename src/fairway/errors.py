"""Every error a user can meet, as one tree.

Each class knows its HTTP status, its process exit code and its OpenAI error type, so the command
line and the server render the same failure without deciding anything. The message is one sentence
that names what and where; the hint says what to do.

    FairwayError
    ├── UsageError                 the call itself is wrong
    │   ├── SettingsError          a setting is unknown or impossible
    │   ├── RequestError           an HTTP request or prompt is wrong
    │   │   ├── ContextExceeded    prompt (+ max_tokens) does not fit the context
    │   │   └── RequestTooLarge    body, prompt or header above its limit
    │   ├── ModelNotFound          no model of that name or path
    │   └── NotAuthorized          missing or wrong API key
    ├── FormatError                a file is broken or not what it claims to be
    ├── UnsupportedError           well-formed, but this engine cannot run it
    ├── DoesNotFit                 memory or disk is too small
    ├── Busy                       try again later (carries Retry-After)
    ├── OfflineError               a download is needed and there is no network
    ├── MissingExtra               an optional dependency is not installed
    ├── ProofFailed                a conversion differs from its source; nothing was published
    └── InternalError              our own mistake
"""

from __future__ import annotations


class FairwayError(Exception):
    """Base of everything Fairway raises on purpose."""

    status = 500
    exit_code = 1
    openai_type = "server_error"

    def __init__(self, message: str, *, hint: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.param = param

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message} {self.hint}"


class UsageError(FairwayError):
    """The call itself is wrong; doing the same again fails again."""

    status = 400
    exit_code = 2
    openai_type = "invalid_request_error"


class SettingsError(UsageError):
    """A setting is unknown or has an impossible value."""


class RequestError(UsageError):
    """A request or prompt is malformed; `param` names the field."""


class ContextExceeded(RequestError):
    """The prompt, or prompt and answer together, do not fit the context. Says both numbers."""


class RequestTooLarge(RequestError):
    """A body, prompt or header is above its configured limit."""

    status = 413


class ModelNotFound(UsageError):
    """No model of that name is served, or nothing lies at that path."""

    status = 404


class NotAuthorized(UsageError):
    """The API key is missing or wrong."""

    status = 401
    openai_type = "authentication_error"


class FormatError(FairwayError):
    """A file is truncated, lies about its lengths, or is not the format it claims to be."""

    status = 422
    exit_code = 3
    openai_type = "invalid_request_error"


class UnsupportedError(FairwayError):
    """The input is well-formed, but uses something this engine does not have."""

    status = 501
    exit_code = 4
    openai_type = "invalid_request_error"


class DoesNotFit(FairwayError):
    """Memory or disk is too small. The message says needed and available."""

    status = 507
    exit_code = 5


class Busy(FairwayError):
    """The queue is full or the server is stopping; `retry_after_s` says when to come back."""

    status = 503
    exit_code = 6
    openai_type = "overloaded_error"

    def __init__(self, message: str, *, retry_after_s: int = 1, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class OfflineError(FairwayError):
    """A download is needed and the network or the hub cannot be reached."""

    status = 503
    exit_code = 7


class MissingExtra(FairwayError):
    """An optional dependency is not installed; the hint is the install command."""

    status = 501
    exit_code = 8


class ProofFailed(FairwayError):
    """What a hop made differs from its source by more than such a hop may cost. Nothing was published."""

    status = 422
    exit_code = 9


class ToolFailed(FairwayError):
    """A program of others, which was asked to build something, ended with an error. Nothing was kept."""

    status = 502
    exit_code = 10


class InternalError(FairwayError):
    """An invariant of our own broke. Never the user's fault."""
