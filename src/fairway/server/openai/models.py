"""/v1/models: what is served. OpenAI's fields, and what a user of an own server wants to know."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from fairway.runtimes.adapted import adapted_info
from fairway.runtimes.adapters import AdapterInfo
from fairway.runtimes.protocol import ModelInfo
from fairway.server.json_response import JsonResponse
from fairway.server.services import Services


async def list_models(services: Services, request: Request, body: None) -> Response:  # noqa: ARG001
    """Every model that is served."""
    models = services.models
    data = [_model(name, runtime.info) for name, runtime in models.items()]
    data += [_adapter(base, models[base].info, adapter) for base, adapter in models.adapters()]
    return JsonResponse({"object": "list", "data": data})


async def show_model(services: Services, request: Request, body: None) -> Response:  # noqa: ARG001
    """One model or adapter. Its name may hold slashes."""
    wanted = request.path_params["model"]
    for base, adapter in services.models.adapters():
        if wanted in (adapter.name, f"{base}:{adapter.name}"):
            return JsonResponse(_adapter(base, services.models[base].info, adapter))
    name, runtime = services.models.find(wanted)
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
        "parent": None,
        "lora_rank": None,
        "virtual_tokens": None,
    }


def _adapter(base: str, info: ModelInfo, adapter: AdapterInfo) -> dict[str, Any]:
    """What its base is, and what it adds to that."""
    return _model(adapter.name, adapted_info(info, adapter)) | {
        "num_parameters": info.num_parameters + adapter.num_parameters,
        "weight_bytes": info.weight_bytes + adapter.num_bytes,
        "parent": base,
        "lora_rank": adapter.rank,
        "virtual_tokens": adapter.num_virtual_tokens or None,
    }
