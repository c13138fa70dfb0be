"""How long requests wait, start and run, told to a listener outside the engine's decisions.

The engine makes a Stopwatch only when somebody listens; without a listener no clock is read.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from fairway.engine.batch import Batch
from fairway.engine.events import FinishReason, TokenEvent

log = logging.getLogger(__name__)


class EngineListener(Protocol):
    """Hears of every request, in the worker thread, outside the decisions. Must be quick.

    One that raises is logged and not called again.
    """

    def on_start(self, request_id: str, queue_s: float) -> None:
        """The first tokens of the prompt are about to be computed; it waited `queue_s`."""
        ...

    def on_first_token(self, request_id: str, time_to_first_token_s: float) -> None: ...

    def on_token(self, request_id: str, inter_token_s: float) -> None:
        """A token after the first, `inter_token_s` after the one before it."""
        ...

    def on_finish(self, request_id: str, reason: FinishReason, total_s: float) -> None: ...


@dataclass
class _Times:
    submitted: float
    started: bool = False
    last_token: float | None = None


class Stopwatch:
    """Turns batches and events into durations. `submitted` may be called from any thread."""

    def __init__(self, listener: EngineListener, clock: Callable[[], float] = time.perf_counter) -> None:
        self._listener: EngineListener | None = listener
        self._clock = clock
        self._times: dict[str, _Times] = {}

    def submitted(self, request_id: str) -> None:
        self._times[request_id] = _Times(self._clock())

    def scheduled(self, batch: Batch) -> None:
        """`batch` is about to run."""
        now = self._clock()
        for chunk in batch.chunks:
            times = self._times[chunk.request_id]
            if not times.started:
                times.started = True
                self._tell(lambda to: to.on_start(chunk.request_id, now - times.submitted))  # noqa: B023  called at once

    def happened(self, events: Sequence[TokenEvent]) -> None:
        now = self._clock()
        for event in events:
            if event.token_id is not None:
                self._token(event.request_id, now)
            if event.finish_reason is not None:
                self._finish(event.request_id, event.finish_reason, now)

    def _token(self, request_id: str, now: float) -> None:
        times = self._times[request_id]
        last, times.last_token = times.last_token, now
        if last is None:
            self._tell(lambda to: to.on_first_token(request_id, now - times.submitted))
        else:
            self._tell(lambda to: to.on_token(request_id, now - last))

    def _finish(self, request_id: str, reason: FinishReason, now: float) -> None:
        times = self._times.pop(request_id)
        self._tell(lambda to: to.on_finish(request_id, reason, now - times.submitted))

    def _tell(self, call: Callable[[EngineListener], None]) -> None:
        if self._listener is None:
            return
        try:
            call(self._listener)
        except Exception:
            log.exception("The engine's listener failed; it hears no more.")
            self._listener = None
