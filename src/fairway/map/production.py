"""The production checklist of article 4: six boxes, and the evidence for each that can be shown today.

    boxes = checklist(asker("http://127.0.0.1:8000"))

A running server is asked where there is one. The rule: a box is ticked by what was seen just now, never by
what is planned.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

State: TypeAlias = Literal["done", "partly", "missing"]
TIMEOUT_S = 3.0
MOST_BYTES = 4 << 20
LATENCY, ERRORS = "fairway_time_to_first_token_seconds", "fairway_http_requests"


@dataclass(frozen=True)
class Reply:
    """What a server answered."""

    status: int
    text: str
    seconds: float


Ask: TypeAlias = Callable[[str], Reply | None]
"""GET of a path; None where nobody answers."""


@dataclass(frozen=True)
class Box:
    """One line of the checklist."""

    name: str
    asks: str
    state: State
    evidence: str
    lacks: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def asker(url: str, api_key: str | None = None) -> Ask:
    """Asks a server over HTTP."""

    def ask(path: str) -> Reply | None:
        headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        start = time.perf_counter()
        try:
            request = urllib.request.Request(url.rstrip("/") + path, headers=headers)
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:
                text = reply.read(MOST_BYTES).decode("utf-8", "replace")
                return Reply(reply.status, text, time.perf_counter() - start)
        except urllib.error.HTTPError as error:
            return Reply(error.code, "", time.perf_counter() - start)
        except (OSError, ValueError):
            return None

    return ask


def checklist(ask: Ask, url: str) -> list[Box]:
    """The six boxes, in the article's order."""
    return [
        _versioning(ask("/v1/models"), url),
        _health(ask("/health"), url),
        Box(
            "Autoscaling", "Handle traffic spikes", "missing",
            "requests wait in a bounded queue, then get 503 with Retry-After",
            "nothing starts another worker: one process serves",
        ),
        _monitoring(ask("/metrics"), url),
        Box(
            "Rollback plan", "Quick recovery", "missing",
            "converted models keep their source and every hop (fairway inspect shows the lineage)",
            "no command goes back to the version that was served before",
        ),
        Box(
            "Cost alerts", "No surprises", "missing",
            "fairway plan says what a route costs before it is taken",
            "nothing counts what a running server costs, and nobody is warned",
        ),
    ]  # fmt: skip


def _versioning(reply: Reply | None, url: str) -> Box:
    asks, lacks = "Track what's deployed", "no registry remembers which version is served where"
    kept = "every conversion records digest, source and tools (fairway inspect)"
    if reply is None:
        return Box("Model versioning", asks, "partly", f"{kept}; no server answers at {url}", lacks)
    if reply.status != 200:
        return Box(
            "Model versioning", asks, "partly", f"{kept}; GET /v1/models answers {reply.status}",
            f"the server was not seen ({_key(reply)}), and {lacks}",
        )  # fmt: skip
    names = ", ".join(_names(reply.text)) or "nothing"
    return Box("Model versioning", asks, "partly", f"{kept}; {url} serves {names}", lacks)


def _health(reply: Reply | None, url: str) -> Box:
    asks = "Know when things break"
    if reply is None:
        return Box(
            "Health checks", asks, "partly", "every server has GET /health",
            f"no server answers at {url}: start one, or say --url",
        )  # fmt: skip
    evidence = f"GET {url}/health: {reply.status} in {reply.seconds * 1000:.0f} ms"
    if reply.status == 200:
        return Box("Health checks", asks, "done", evidence)
    return Box("Health checks", asks, "partly", evidence, "the server says that it cannot serve")


def _monitoring(reply: Reply | None, url: str) -> Box:
    asks, costs = "Latency, errors, costs", "costs are not among the metrics"
    if reply is None:
        return Box(
            "Monitoring", asks, "partly", "every server has GET /metrics with latency and errors",
            f"no server answers at {url}; {costs}",
        )  # fmt: skip
    if reply.status != 200:
        return Box(
            "Monitoring", asks, "missing", f"GET {url}/metrics answers {reply.status}",
            f"{_key(reply)}; {costs}",
        )  # fmt: skip
    seen = [word for word, name in (("latency", LATENCY), ("errors", ERRORS)) if name in reply.text]
    if len(seen) < 2:
        return Box("Monitoring", asks, "missing", f"GET {url}/metrics is not Fairway's", costs)
    return Box("Monitoring", asks, "partly", f"GET {url}/metrics counts {' and '.join(seen)}", costs)


def _key(reply: Reply) -> str:
    return "it wants a key: --api-key" if reply.status == 401 else f"status {reply.status}"


def _names(text: str) -> list[str]:
    try:
        data = json.loads(text)["data"]
        return [str(each["id"]) for each in data]
    except (ValueError, KeyError, TypeError):
        return []
