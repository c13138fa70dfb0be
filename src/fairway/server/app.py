"""The application: every route and every layer, put together once.

Layers from the outside in: errors and counting, origins, keys, routes. A request that fails in any
of them gets OpenAI's error shape.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fairway.server import operating
from fairway.server.auth import KeyLayer
from fairway.server.drain import Drain
from fairway.server.json_response import JsonResponse
from fairway.server.metrics import Metrics
from fairway.server.model_table import ModelTable
from fairway.server.openai import operations as openai
from fairway.server.openai import tuning_operations
from fairway.server.openapi import openapi_document
from fairway.server.operation import Operation, route
from fairway.server.origin import OriginLayer
from fairway.server.pages import LatePage, Page, page_route
from fairway.server.request_layer import RequestLayer
from fairway.server.services import Services
from fairway.server.settings import ServerSettings, load_keys
from fairway.server.tuning import Tuning
from fairway.server.tuning_metrics import TuningCollector

OPERATIONS: tuple[Operation, ...] = (
    *openai.OPERATIONS,
    *tuning_operations.OPERATIONS,
    *operating.OPERATIONS,
)


def create_app(
    models: ModelTable, settings: ServerSettings, pages: Sequence[Page | LatePage] = ()
) -> Starlette:
    """An ASGI app. Its `state.services` holds what it was made of; `pages` come from `console`."""
    tuning = Tuning(models, settings)
    metrics = Metrics(models, TuningCollector(lambda: tuning.jobs.overview))
    services = Services(models, settings, metrics, Drain(), tuning)
    open_paths = [each.path for each in OPERATIONS if not each.needs_key] + [page.path for page in pages]
    app = Starlette(
        routes=[
            *(route(operation, services) for operation in OPERATIONS),
            _openapi_route(settings),
            *(page_route(page) for page in pages),
        ],
        middleware=[
            Middleware(RequestLayer, metrics=services.metrics),
            Middleware(OriginLayer, settings=settings),
            Middleware(KeyLayer, keys=load_keys(settings), open_paths=open_paths),
        ],
        exception_handlers={HTTPException: _leave_to_outermost},
    )
    app.router.redirect_slashes = False
    app.state.services = services
    return app


async def _leave_to_outermost(request: Request, error: Exception) -> Response:  # noqa: ARG001
    """Starlette would answer unknown routes and methods with plain text."""
    raise error


def _openapi_route(settings: ServerSettings) -> Route:
    document = openapi_document(OPERATIONS, has_keys=settings.has_keys)

    async def openapi(request: Request) -> Response:
        request.state.route = "/openapi.json"
        return JsonResponse(document)

    return Route("/openapi.json", openapi, methods=["GET"])
