"""/v1/load_lora_adapter and /v1/unload_lora_adapter, as vLLM has them: adapters come and go while serving.

Off unless `lora_folder` is set: a path is only followed inside that folder, since whoever may send a
request is not thereby trusted with this machine's files.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from fairway.errors import RequestError
from fairway.server.errors import LoadingRefused
from fairway.server.openai.field_policy import check_unknown_fields
from fairway.server.services import Services


class LoadLoraRequest(BaseModel):
    """An adapter to load."""

    model_config = ConfigDict(strict=True, extra="allow")

    lora_name: str = Field(description="What requests call it.")
    lora_path: str = Field(
        min_length=1, max_length=4096, description="PEFT's folder or a GGUF file, in lora_folder."
    )
    load_inplace: bool | None = Field(None, description="Take the place of an adapter of the same name.")
    model: str | None = Field(None, description="The base; may be left out when one model is served.")


class UnloadLoraRequest(BaseModel):
    """An adapter to unload. Its running answers finish first."""

    model_config = ConfigDict(strict=True, extra="allow")

    lora_name: str = Field(description="As requests call it.")


async def load_lora_adapter(services: Services, request: Request, body: LoadLoraRequest) -> Response:  # noqa: ARG001
    """Loads a LoRA adapter."""
    check_unknown_fields(body)
    path = path_within(services.settings.lora_folder, body.lora_path)
    replace = bool(body.load_inplace)
    await asyncio.to_thread(services.models.load_adapter, body.lora_name, path, body.model, replace=replace)
    return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' added successfully.")


async def unload_lora_adapter(services: Services, request: Request, body: UnloadLoraRequest) -> Response:  # noqa: ARG001
    """Unloads a LoRA adapter."""
    check_unknown_fields(body)
    _allowed(services.settings.lora_folder)
    await asyncio.to_thread(services.models.unload_adapter, body.lora_name)
    return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' removed successfully.")


def path_within(folder: str | None, path: str) -> Path:
    """The path, links followed, if it lies in the folder. A relative one begins there."""
    root = _allowed(folder)
    if "\0" in path:
        raise RequestError("lora_path holds a zero byte.", param="lora_path")
    try:
        found = (root / path).resolve()
    except OSError as error:
        raise RequestError(f"lora_path cannot be followed: {error.strerror}.", param="lora_path") from None
    if not found.is_relative_to(root):
        raise LoadingRefused("lora_path lies outside the folder of adapters.", param="lora_path")
    return found


def _allowed(folder: str | None) -> Path:
    if folder is None:
        raise LoadingRefused(
            "This server loads and unloads no adapters.", hint="Start it with --lora-folder FOLDER."
        )
    return Path(folder).expanduser().resolve()
