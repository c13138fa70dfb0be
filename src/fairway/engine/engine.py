"""Moves requests forward. A step is four words: schedule, run, sample, commit.

Owned by one thread; knows a Runner and nothing of how it computes. The rule: nothing else in the
program advances a request, and every request ends with exactly one event that says why.
"""

from __future__ import annotations

from collections import Counter

from fairway.engine.adapters import Adapters
from fairway.engine.batch import Batch, Chunk
from fairway.engine.door import Capacity, Door
from fairway.engine.events import FinishReason, TokenEvent
from fairway.engine.kv_cache import KVCache
from fairway.engine.limits import EngineSettings, StepLimits
from fairway.engine.request import Request
from fairway.engine.runner import Runner
from fairway.engine.sampler import Sample, sample, score_prompt
from fairway.engine.scheduler import Scheduler
from fairway.engine.stats import EngineStats
from fairway.engine.timing import EngineListener, Stopwatch
from fairway.errors import InternalError
from fairway.tensors import F32

DEFAULT_SETTINGS = EngineSettings()
NOTHING = Sample()


class Engine:
    """`add` requests, then `step` while `has_work`; each step says what became of whom."""

    def __init__(
        self,
        runner: Runner,
        settings: EngineSettings = DEFAULT_SETTINGS,
        listener: EngineListener | None = None,
    ) -> None:
        self.runner = runner
        self.limits = StepLimits.of(runner, settings)
        self.door = Door(Capacity.of(runner, self.limits.max_sequences + settings.max_waiting))
        self.adapters = Adapters(runner, self.door)
        self._shares_prefixes = settings.enable_prefix_caching
        self.scheduler = Scheduler(self._empty_cache(), self.limits)
        self._stopwatch = Stopwatch(listener) if listener is not None else None
        self._in_flight: Batch | None = None
        self._untold: list[TokenEvent] = []
        """Survives a step that fails half way, so that nobody's end is lost."""
        self._num_generated = 0
        self._num_finished: Counter[str] = Counter()

    @property
    def has_work(self) -> bool:
        return bool(self.scheduler.requests)

    def add(self, request: Request) -> None:
        """Queues `request`. Raises ContextExceeded, RequestError or Busy."""
        self.enter(request)
        self.enqueue(request)

    def enter(self, request: Request) -> None:
        """The part of `add` that may refuse; safe from any thread. `enqueue` must follow."""
        self.door.enter(request)
        if self._stopwatch is not None:
            self._stopwatch.submitted(request.id)

    def enqueue(self, request: Request) -> None:
        self.scheduler.add(request)

    def step(self) -> list[TokenEvent]:
        """One batch through the model. Empty when there is nothing to do."""
        batch = self._schedule()
        if batch is None:
            return []
        logits = self._run(batch)
        samples = self._sample(batch, logits)
        return self._commit(batch, samples)

    def abort(
        self, request_id: str, reason: FinishReason = "abort", error: str | None = None
    ) -> TokenEvent | None:
        """Ends a request wherever it is; its blocks are free at once. None if it has ended already."""
        request = self.scheduler.requests.get(request_id)
        if request is None:
            return None
        self._end(request, reason, error)
        [event] = self._told()
        return event

    def fail(self, message: str) -> list[TokenEvent]:
        """After `step` raised: ends the requests of the batch that failed, and the engine can go on.

        If it was not the batch that failed, the engine's own state is in doubt: all requests end and
        the cache is forgotten.
        """
        failed = list(self.scheduler.requests.values())
        if self._in_flight is not None:
            failed = [self.scheduler.requests[chunk.request_id] for chunk in self._in_flight.chunks]
            self._in_flight = None
        else:
            self.scheduler.start_afresh(self._empty_cache())
        for request in failed:
            self._end(request, "error", message)
        return self._told()

    def stats(self) -> EngineStats:
        scheduler, cache = self.scheduler, self.scheduler.cache
        return EngineStats(
            num_running=len(scheduler.running),
            num_waiting=len(scheduler.waiting),
            kv_blocks_total=cache.pool.num_blocks,
            kv_blocks_used=cache.num_used,
            kv_blocks_cached=cache.num_cached,
            prompt_tokens_total=scheduler.num_prompt_tokens,
            generated_tokens_total=self._num_generated,
            cached_tokens_total=scheduler.num_cached_tokens,
            preemptions_total=scheduler.num_preemptions,
            requests_total=dict(self._num_finished),
        )

    def check(self) -> None:
        """Raises InternalError unless every part's invariants hold."""
        self.scheduler.check()
        if self._in_flight is not None:
            raise InternalError("A batch is still in flight.")
        if len(self.door) < len(self.scheduler.requests):
            raise InternalError("There are more requests inside than came through the door.")

    def _empty_cache(self) -> KVCache:
        return KVCache(self.runner.num_blocks, self.runner.block_size, self._shares_prefixes)

    def _schedule(self) -> Batch | None:
        batch = self.scheduler.schedule()
        if batch is None and self.has_work:
            raise InternalError("There are requests and none of them can go on.")
        if batch is not None and self._stopwatch is not None:
            self._stopwatch.scheduled(batch)
        return batch

    def _run(self, batch: Batch) -> F32:
        self._in_flight = batch
        return self.runner.run(batch)

    def _sample(self, batch: Batch, logits: F32) -> list[Sample]:
        """A choice for each chunk that reached its request's last token, NOTHING for the others."""
        requests, rows = self._choosers(batch, logits)
        if not requests:
            return [NOTHING] * len(batch.chunks)
        chosen = sample(requests, rows, logits, self.runner)
        if len(chosen) == len(batch.chunks):
            return chosen
        choices = iter(chosen)
        return [next(choices) if self._chooses(chunk) else NOTHING for chunk in batch.chunks]

    def _choosers(self, batch: Batch, logits: F32) -> tuple[list[Request], list[int]]:
        """Who chooses a token now, and from which row. Scores prompts on the way."""
        requests, rows, row = [], [], 0
        for chunk in batch.chunks:
            request = self.scheduler.requests[chunk.request_id]
            if request.wants_prompt_logprobs:
                score_prompt(request, range(row, row + chunk.num_outputs), logits, self.runner)
            row += chunk.num_outputs
            if self._chooses(chunk):
                requests.append(request)
                rows.append(row - 1)
        return requests, rows

    def _chooses(self, chunk: Chunk) -> bool:
        request = self.scheduler.requests[chunk.request_id]
        return chunk.start + chunk.num_tokens == request.num_positions and request.max_output > 0

    def _commit(self, batch: Batch, samples: list[Sample]) -> list[TokenEvent]:
        self._in_flight = None
        for chunk, choice in zip(batch.chunks, samples, strict=True):
            request = self.scheduler.requests[chunk.request_id]
            self.scheduler.advance(request, chunk.num_tokens)
            if choice is not NOTHING:
                self._append(request, choice)
            elif request.num_new == 0:
                self._end(request, "length")
        return self._told()

    def _append(self, request: Request, choice: Sample) -> None:
        if choice.token_id is None:
            self._end(request, "error", choice.error)
            return
        request.token_ids.append(choice.token_id)
        self._num_generated += 1
        reason = request.end
        if reason is not None:
            self._forget(request, reason)
        self._untold.append(token_event(request, choice))

    def _end(self, request: Request, reason: FinishReason, error: str | None = None) -> None:
        self._forget(request, reason)
        self._untold.append(token_event(request, NOTHING, error))

    def _forget(self, request: Request, reason: FinishReason) -> None:
        request.finish_reason = reason
        self.scheduler.remove(request)
        self.door.leave(request.id)
        self.adapters.release()
        self._num_finished[reason] += 1

    def _told(self) -> list[TokenEvent]:
        """What has happened since it was last told."""
        events, self._untold = self._untold, []
        if self._stopwatch is not None:
            self._stopwatch.happened(events)
        return events


def token_event(request: Request, choice: Sample, error: str | None = None) -> TokenEvent:
    """What `choice`, just appended, means to the one who asked."""
    first = request.num_output == (0 if choice.token_id is None else 1)
    wants_prompt = request.sampling.prompt_logprobs is not None
    return TokenEvent(
        request_id=request.id,
        token_id=choice.token_id,
        logprob=choice.logprob,
        top_logprobs=choice.top_logprobs,
        finish_reason=request.finish_reason,
        stop_token=request.finish_reason == "stop" and choice.token_id is not None,
        num_prompt_tokens=request.num_prompt,
        num_cached_tokens=request.num_cached or 0,
        prompt_logprobs=tuple(request.prompt_logprobs) if first and wants_prompt else None,
        error=error,
    )
