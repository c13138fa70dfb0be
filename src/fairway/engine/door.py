"""Who may come in: checks a request at once, in the thread that brings it.

Knows limits and how many are inside, nothing of the engine's state. Safe from any thread. The
rule: whoever is let in is counted until `leave`, so the engine never holds more than it may.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from fairway.engine.request import Request
from fairway.engine.runner import Runner
from fairway.errors import Busy, ContextExceeded, InternalError, ModelNotFound, RequestError

_RECENT = 32


@dataclass(frozen=True)
class Capacity:
    """What one request, and all together, may be."""

    vocab_size: int
    max_context: int
    pool_tokens: int
    """Tokens that the whole cache holds."""
    max_requests: int

    @classmethod
    def of(cls, runner: Runner, max_requests: int) -> Capacity:
        pool_tokens = runner.num_blocks * runner.block_size
        return cls(runner.vocab_size, runner.max_context, pool_tokens, max_requests)

    def fit(self, request: Request) -> None:
        """Refuses what can never run, and limits the answer to what the context has left."""
        highest = max(request.token_ids)
        if highest >= self.vocab_size:
            raise RequestError(
                f"Token id {highest} in the prompt is outside the vocabulary of {self.vocab_size}.",
                param="prompt",
            )
        self._fit_ids(request)
        self._fit_context(request)

    def _fit_ids(self, request: Request) -> None:
        for token_id in request.sampling.logit_bias:
            if not 0 <= token_id < self.vocab_size:
                raise RequestError(
                    f"logit_bias names token id {token_id}; the vocabulary ends at {self.vocab_size - 1}.",
                    param="logit_bias",
                )

    def _fit_context(self, request: Request) -> None:
        least = request.num_positions + min(1, request.max_output)
        prefix = f", its adapter {request.num_virtual} before it" if request.num_virtual else ""
        if least > self.max_context:
            raise ContextExceeded(
                f"The prompt has {request.num_prompt} tokens{prefix}; the context holds {self.max_context}, "
                "prompt and answer together.",
                param="prompt",
            )
        if least > self.pool_tokens:
            raise ContextExceeded(
                f"The prompt has {request.num_prompt} tokens{prefix}; the whole cache holds "
                f"{self.pool_tokens}.",
                hint="Give the cache more memory or send a shorter prompt.",
                param="prompt",
            )
        room = min(self.max_context, self.pool_tokens) - request.num_positions
        request.max_output = min(request.max_output, room)


class Door:
    """Counts who is inside. The lock guards this count alone; engine state has no lock."""

    def __init__(self, capacity: Capacity, clock: Callable[[], float] = time.monotonic) -> None:
        self.capacity = capacity
        self._clock = clock
        self._lock = threading.Lock()
        self._inside: dict[str, str] = {}
        """Request id -> its adapter."""
        self._adapters: set[str] = set()
        self._closed = False
        self._departures: deque[float] = deque(maxlen=_RECENT)

    def __len__(self) -> int:
        return len(self._inside)

    def enter(self, request: Request) -> None:
        """Lets `request` in. Raises ContextExceeded, RequestError, ModelNotFound or Busy."""
        if request.finish_reason is not None or request.num_output:
            raise InternalError(f"Request {request.id} was answered before; make a new one.")
        self.capacity.fit(request)
        with self._lock:
            self._refuse_if_full()
            if request.id in self._inside:
                raise RequestError(f"A request with id {request.id} is running already.", param="request_id")
            if request.adapter and request.adapter not in self._adapters:
                raise ModelNotFound("This adapter is not loaded.", param="model")
            self._inside[request.id] = request.adapter

    def leave(self, request_id: str) -> None:
        with self._lock:
            self._inside.pop(request_id, None)
            self._departures.append(self._clock())

    def admit(self, adapter: str) -> None:
        """Requests with this adapter may come in."""
        with self._lock:
            self._adapters.add(adapter)

    def refuse(self, adapter: str) -> None:
        """No more of them."""
        with self._lock:
            self._adapters.discard(adapter)

    def num_inside(self, adapter: str) -> int:
        with self._lock:
            return Counter(self._inside.values())[adapter]

    def close(self) -> None:
        """Nobody comes in any more."""
        with self._lock:
            self._closed = True

    def _refuse_if_full(self) -> None:
        if self._closed:
            raise Busy("The model is shutting down.", retry_after_s=5)
        if len(self._inside) >= self.capacity.max_requests:
            raise Busy(
                f"The queue is full: {len(self._inside)} requests are running or waiting.",
                retry_after_s=self._retry_after_s(),
            )

    def _retry_after_s(self) -> int:
        """Seconds in which half of those inside will have left at the recent rate; 1 to 60."""
        if len(self._departures) < 2:
            return 1
        each = (self._clock() - self._departures[0]) / len(self._departures)
        return max(1, min(60, math.ceil(each * len(self._inside) / 2)))
