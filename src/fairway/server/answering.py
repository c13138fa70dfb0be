"""From prompts to a running answer, and from there to a response: what all endpoints share.

An answer begins here, with its stopwatch, and ends here, streamed or whole. The rule: whatever
begins is closed, also when the client leaves or a later prompt is refused.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import ParamSpec, TypeVar

from starlette.requests import Request

from fairway.errors import RequestError
from fairway.runtimes.protocol import Generation, GenerationRequest, Runtime, Usage
from fairway.server.disconnect import unless_gone
from fairway.server.folding import Folded, fold
from fairway.server.meter import Meter
from fairway.server.running import Running
from fairway.server.services import Services
from fairway.server.streaming import EventStream, Payloads

P = ParamSpec("P")
T = TypeVar("T")

# Templates and tokenizers hold the interpreter or a core; more threads would only take turns.
_HELPERS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="fairway-prompt")


@dataclass(frozen=True)
class Ask:
    """What a request wants of a model. `param` is the field that holds the prompt."""

    model: str
    runtime: Runtime
    prompts: Sequence[GenerationRequest]
    param: str

    @property
    def num_answers(self) -> int:
        return self.prompts[0].num_answers


async def on_helper_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Runs `work` where it cannot hold up other clients' streams."""
    return await asyncio.get_running_loop().run_in_executor(_HELPERS, partial(work, *args, **kwargs))


def begin(services: Services, request: Request, ask: Ask) -> Running:
    """Queues every prompt, or none. Raises what the runtime raises."""
    services.drain.refuse_if_stopping()
    generations: list[Generation] = []
    try:
        for prompt in ask.prompts:
            generations.append(ask.runtime.generate(prompt))
        return Running(services, generations, _meter(services, request, ask))
    except BaseException as error:
        for generation in generations:
            generation.cancel()
        if isinstance(error, RequestError) and error.param in (None, "prompt"):
            error.param = ask.param
        raise


def _meter(services: Services, request: Request, ask: Ask) -> Meter:
    arrived_s = getattr(request.state, "arrived_s", None) or time.perf_counter()
    return Meter(services.metrics, ask.model, arrived_s, len(ask.prompts) * ask.num_answers)


async def answer_whole(request: Request, running: Running, ask: Ask) -> tuple[list[Folded], Usage]:
    """All answers and the usage, or `ClientGone` as soon as nobody waits for them."""
    try:
        return await unless_gone(request.receive, fold(running.deltas(), len(ask.prompts), ask.num_answers))
    finally:
        running.close()


def event_stream(services: Services, running: Running, payloads: Payloads) -> EventStream:
    settings = services.settings
    return EventStream(
        payloads, running.close, heartbeat_s=settings.heartbeat_s, send_timeout_s=settings.send_timeout_s
    )
