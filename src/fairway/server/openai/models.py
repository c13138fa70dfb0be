"""/v1/models: what is served. OpenAI's fields, and what a user of an own server wants to know."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from fairway.runtimes.protocol import ModelInfo
from fairway.server.json_response import JsonResponse
from fairway.server.services import Services


async def list_models(services: Services, request: Request, body: None) -> Response:  # noqa: ARG001
    """Every model that is served."""
    data = [_model(name, runtime.info) for name, runtime in services.models.items()]
    return JsonResponse({"object": "list", "data": data})


async def show_model(services: Services, request: Request, body: None) -> Response:  # noqa: ARG001
    """One model. Its name may hold slashes."""
    name, runtime = services.models.find(request.path_params["model"])
    return JsonResponse(_model(name, runtime.info))


def _model(name: str, info: ModelInfo) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": info.created_s,
        "owned_by": "fairway",
        "max_model_len": info.context,
        "architecture": info.architecture,
        "num_parameters": info.num_parameters,
        "weight_type": info.weight_type,
        "weight_bytes": info.weight_bytes,
        "vocab_size": info.vocab_size,
        "runtime": info.runtime,
        "has_chat_template": info.has_chat_template,
    }
