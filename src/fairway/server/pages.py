"""Files of a web page, held in memory and sent with headers that allow nothing foreign.

The page itself lives in `console`, above this layer, and is handed to `create_app`. Files are
revalidated by digest on each load, so an update is seen at once and costs a 304 otherwise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

# No inline script or style, nothing from elsewhere, and no embedding in other pages.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "cache-control": "no-cache",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass(frozen=True)
class Page:
    """One file at one path. Needs no key: it holds no data."""

    path: str
    content: bytes
    media_type: str
    policy: str = CONTENT_SECURITY_POLICY
    etag: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "etag", f'"{hashlib.sha256(self.content).hexdigest()[:20]}"')


@dataclass(frozen=True)
class LatePage:
    """A page that is made when somebody first asks for it, so that starting costs nothing."""

    path: str
    make: Callable[[], Page]

    @cached_property
    def page(self) -> Page:
        return self.make()


def page_route(page: Page | LatePage) -> Route:
    async def endpoint(request: Request) -> Response:
        request.state.route = page.path
        found = page if isinstance(page, Page) else await run_in_threadpool(lambda: page.page)
        headers = {**HEADERS, "content-security-policy": found.policy, "etag": found.etag}
        if found.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(found.content, headers=headers, media_type=found.media_type)

    return Route(page.path, endpoint, methods=["GET"], name=page.path)
