"""Files of a web page, held in memory and sent with headers that allow nothing foreign.

The page itself lives in `console`, above this layer, and is handed to `create_app`. Files are
revalidated by digest on each load, so an update is seen at once and costs a 304 otherwise.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

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
    etag: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "etag", f'"{hashlib.sha256(self.content).hexdigest()[:20]}"')


def page_route(page: Page) -> Route:
    async def endpoint(request: Request) -> Response:
        request.state.route = page.path
        headers = {**HEADERS, "etag": page.etag}
        if page.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(page.content, headers=headers, media_type=page.media_type)

    return Route(page.path, endpoint, methods=["GET"], name=page.path)
