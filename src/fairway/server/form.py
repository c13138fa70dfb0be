"""Reading a form that carries one file: its bytes go to disk as they come, its fields stay small.

The rule: a limit holds while bytes arrive, with or without Content-Length.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from starlette.requests import ClientDisconnect, Request

from fairway.errors import RequestError
from fairway.server.disconnect import ClientGone
from fairway.server.errors import WrongContentType
from fairway.server.multipart import MultipartParser, Part, boundary_of
from fairway.tune.jobs.files import Upload

MAX_FIELDS = 16
MAX_FIELD_BYTES = 4 << 10


@dataclass
class Form:
    """What has come so far."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None
    upload: Upload | None = None


async def read_form(request: Request, receive: Callable[[str], Upload]) -> Form:
    """The form, its file "file" written to what `receive` gives for the file's name."""
    reader = _Reader(receive)
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "multipart/form-data":
        raise WrongContentType("A file is sent as multipart/form-data.", hint="As curl's -F does.")
    parser = MultipartParser(boundary_of(kind))
    async for chunk in _chunks(request):
        for event in parser.feed(chunk):
            if isinstance(event, Part):
                reader.begin(event)
            else:
                reader.add(event)
    parser.finish()
    return reader.end()


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect:
        raise ClientGone from None


class _Reader:
    """Sorts the parts."""

    def __init__(self, receive: Callable[[str], Upload]) -> None:
        self._receive = receive
        self._form = Form()
        self._fields: dict[str, bytearray] = {}
        self._name: str | None = None
        """The field that is being read; None: the file."""

    def begin(self, part: Part) -> None:
        if part.filename is None:
            if part.name in self._fields or len(self._fields) >= MAX_FIELDS:
                raise RequestError(
                    f"The form has {part.name[:60]!r} twice, or too many fields.", param="file"
                )
            self._fields[part.name] = bytearray()
            self._name = part.name
            return
        if part.name != "file" or self._form.upload is not None:
            raise RequestError("The form must hold one file, named file.", param="file")
        self._name = None
        self._form.filename = part.filename or "data"
        self._form.upload = self._receive(self._form.filename)

    def add(self, piece: bytes) -> None:
        if self._name is None:
            assert self._form.upload is not None
            self._form.upload.write(piece)
            return
        value = self._fields[self._name]
        value += piece
        if len(value) > MAX_FIELD_BYTES:
            raise RequestError(f"The field {self._name[:60]} is too long.", param=self._name[:60])

    def end(self) -> Form:
        for name, value in self._fields.items():
            try:
                self._form.fields[name] = value.decode("utf-8")
            except UnicodeDecodeError:
                raise RequestError(f"The field {name[:60]} is not UTF-8.", param=name[:60]) from None
        return self._form
