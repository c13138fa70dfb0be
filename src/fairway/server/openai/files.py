"""/v1/files: uploads, as OpenAI has them. They are kept on this server's disk and go nowhere else."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from fairway.errors import FairwayError, RequestError
from fairway.server.form import read_form
from fairway.server.json_response import JsonResponse
from fairway.server.openai.field_policy import check_unknown_fields
from fairway.server.openai.file_schema import ListFilesQuery, UploadFields
from fairway.server.services import Services
from fairway.server.validation import validate
from fairway.tune.jobs.errors import InvalidFile
from fairway.tune.jobs.files import FileStore, Kind, StoredFile, Upload
from fairway.tune.jobs.names import page

FINE_TUNE = "fine-tune"


async def upload_file(services: Services, request: Request, body: None) -> Response:  # noqa: ARG001
    """Takes a file."""
    store = services.tuning.files
    uploads: list[Upload] = []

    def receive(filename: str) -> Upload:
        uploads.append(store.begin(filename))
        return uploads[-1]

    try:
        form = await read_form(request, receive)
        if form.upload is None or form.filename is None:
            raise RequestError("The field file is missing.", param="file")
        fields = validate(UploadFields, form.fields)
        check_unknown_fields(fields)
        kind = Kind(form.filename, fields.purpose, fields.expires_s)
        return JsonResponse(_answer(await asyncio.to_thread(_kept, store, form.upload, kind)))
    finally:
        for upload in uploads:
            upload.discard()


async def list_files(services: Services, request: Request, body: ListFilesQuery) -> Response:  # noqa: ARG001
    """Every file that is kept."""
    check_unknown_fields(body)
    found = await asyncio.to_thread(services.tuning.files.all)
    chosen = [each for each in found if body.purpose in (None, each.purpose)]
    piece = page(chosen[::-1] if body.order == "asc" else chosen, body.after, body.limit)
    return JsonResponse(list_answer([_answer(each) for each in piece.items], has_more=piece.has_more))


async def show_file(services: Services, request: Request, body: None) -> Response:  # noqa: ARG001
    """One file's name, size and purpose."""
    return JsonResponse(_answer(services.tuning.files.find(request.path_params["file_id"])))


async def file_content(services: Services, request: Request, body: None) -> Response:  # noqa: ARG001
    """The bytes of a file."""
    store, file_id = services.tuning.files, request.path_params["file_id"]
    return FileResponse(store.path(file_id), media_type="application/octet-stream")


async def delete_file(services: Services, request: Request, body: None) -> Response:  # noqa: ARG001
    """Deletes a file. Jobs that were created from it keep what they need."""
    file_id = request.path_params["file_id"]
    await asyncio.to_thread(services.tuning.files.delete, file_id)
    return JsonResponse({"id": file_id, "object": "file", "deleted": True})


def list_answer(data: list[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """A page as OpenAI's clients turn it."""
    ids = [each["id"] for each in data] or [None]
    return {"object": "list", "data": data, "first_id": ids[0], "last_id": ids[-1], "has_more": has_more}


def _kept(store: FileStore, upload: Upload, kind: Kind) -> StoredFile:
    """Blocks: waits for the disk, and reads the first rows of what is to be learned."""
    upload.close()
    if kind.purpose == FINE_TUNE:
        check_rows(upload.path)
    return store.keep(upload, kind)


def check_rows(path: Path) -> None:
    """Raises `InvalidFile` where no row can be read; a job checks all of them, with the model's tokens."""
    from fairway.tune.dataset import open_dataset

    try:
        open_dataset(path).row(0)
    except FairwayError as error:
        message = error.message.replace(f"{path}", path.name)
        raise InvalidFile(message, hint=error.hint, param="file") from None


def _answer(file: StoredFile) -> dict[str, Any]:
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.num_bytes,
        "created_at": file.created_s,
        "expires_at": file.expires_s,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }
