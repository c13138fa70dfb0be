"""/health and /metrics: what whoever operates the server asks."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from fairway.server.json_response import JsonResponse
from fairway.server.metrics import CONTENT_TYPE
from fairway.server.openai.answer_schema import Health
from fairway.server.operation import Operation
from fairway.server.services import Services


async def health(services: Services, request: Request, body: None) -> Response:  # noqa: ARG001
    """Whether requests are being accepted"""
    services.drain.refuse_if_stopping()
    return JsonResponse({"status": "ready"})


async def metrics(services: Services, request: Request, body: None) -> Response:  # noqa: ARG001
    """Counters and times in Prometheus' format"""
    return Response(services.metrics.render(), headers={"content-type": CONTENT_TYPE})


OPERATIONS = (
    Operation("GET", "/health", "Operation", health, answer=Health, errors=(503,), needs_key=False),
    Operation("GET", "/metrics", "Operation", metrics, media_type="text/plain"),
)
