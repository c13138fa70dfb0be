"""What can be wrong with files and jobs, beside what `fairway.errors` names."""

from __future__ import annotations

from fairway.errors import DoesNotFit, RequestError, RequestTooLarge


class FileMissing(RequestError):
    """No file of that id is kept."""

    status = 404


class FileTooLarge(RequestTooLarge):
    """An upload is above its limit."""


class FilesFull(DoesNotFit):
    """All uploads together are above their limit."""


class InvalidFile(RequestError):
    """A file that cannot be learned from."""


class JobMissing(RequestError):
    """No job of that id is kept."""

    status = 404


class WrongStatus(RequestError):
    """What was asked is not possible in the status that the job has."""
