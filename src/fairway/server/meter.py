"""The stopwatch of one request: observes its answers and counts each exactly once.

Created when the request is accepted, closed when it is over however it ended; answers that have no
finish reason by then were aborted.
"""

from __future__ import annotations

import time

from fairway.runtimes.protocol import Delta
from fairway.server.metrics import Metrics


class Meter:
    """`arrived_s` and all readings are `time.perf_counter`."""

    def __init__(self, metrics: Metrics, model: str, arrived_s: float, num_answers: int) -> None:
        self._answers = metrics.answers
        self._model = model
        self._arrived_s = arrived_s
        self._open = num_answers
        self._in_flight = metrics.in_flight.labels(model)
        self._first_token = metrics.first_token.labels(model)
        self._between_tokens = metrics.between_tokens.labels(model)
        self._whole_answer = metrics.whole_answer.labels(model)
        self._last_token_s: dict[tuple[int, int], float] = {}
        self._in_flight.inc(num_answers)

    def observe(self, prompt: int, delta: Delta) -> None:
        """One delta of answer `delta.index` to prompt number `prompt`."""
        now = time.perf_counter()
        if delta.token_ids:
            self._tokens((prompt, delta.index), len(delta.token_ids), now)
        if delta.finish_reason is not None and self._open:
            self._end(delta.finish_reason, now)

    def close(self) -> None:
        """Safe to call twice."""
        now = time.perf_counter()
        while self._open:
            self._end("abort", now)

    def _tokens(self, answer: tuple[int, int], count: int, now: float) -> None:
        last = self._last_token_s.get(answer)
        self._last_token_s[answer] = now
        if last is None:
            self._first_token.observe(now - self._arrived_s)
            last, count = now, count - 1
        for _ in range(count):
            self._between_tokens.observe((now - last) / count)

    def _end(self, reason: str, now: float) -> None:
        self._open -= 1
        self._in_flight.dec()
        self._answers.labels(self._model, reason).inc()
        self._whole_answer.observe(now - self._arrived_s)
