"""Decides who computes how many tokens in the next step: keep the running, admit the waiting, make room.

Lists and integers only: no arithmetic on logits, no clock, no I/O, no logging. The rule: every
running request gets at least one token in every step, the rest of the budget goes to prompts in
order of arrival, and only the youngest is ever sent back to wait, so the oldest always arrives.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Hashable

from fairway.engine.batch import Batch, Chunk
from fairway.engine.kv_cache import KVCache
from fairway.engine.limits import StepLimits
from fairway.engine.radix_tree import Node
from fairway.engine.request import Request
from fairway.errors import InternalError


class _Step:
    """The batch in the making: what is in it and what it has left."""

    def __init__(self, limits: StepLimits) -> None:
        self.chunks: list[Chunk] = []
        self.tokens_left = limits.max_tokens
        self.outputs_left = limits.max_outputs
        self.blocks_in_work: set[tuple[Node, Hashable]] = set()
        """First prefix block that each chunk fills in this step, as its place in the tree."""


class Scheduler:
    """Owns the waiting and the running. `schedule`, run the batch, `advance`; repeat."""

    def __init__(self, cache: KVCache, limits: StepLimits) -> None:
        self.cache = cache
        self.limits = limits
        self.waiting: deque[Request] = deque()
        """Next first: the preempted, then the others in order of arrival."""
        self.running: list[Request] = []
        """Oldest first."""
        self.requests: dict[str, Request] = {}
        self.num_preemptions = 0
        self.num_prompt_tokens = 0
        self.num_cached_tokens = 0
        self._num_arrivals = 0

    def add(self, request: Request) -> None:
        if request.id in self.requests:
            raise InternalError(f"Request {request.id} is here already.")
        request.arrival = self._num_arrivals
        self._num_arrivals += 1
        self.requests[request.id] = request
        self.waiting.append(request)
        self.cache.expect(request)

    def schedule(self) -> Batch | None:
        """The next batch; None when there is nothing to do."""
        step = _Step(self.limits)
        self._keep_running(step)
        self._admit_waiting(step)
        return Batch(tuple(step.chunks)) if step.chunks else None

    def advance(self, request: Request, num_tokens: int) -> None:
        """The next `num_tokens` tokens of `request` are computed."""
        request.num_computed = request.next_position + num_tokens
        self.cache.store(request)

    def remove(self, request: Request) -> None:
        """Forgets `request` wherever it is and takes its blocks back."""
        del self.requests[request.id]
        (self.waiting if request.node is None else self.running).remove(request)
        self.cache.release(request)

    def start_afresh(self, cache: KVCache) -> None:
        """Sends everyone back to wait with nothing computed, and forgets the old cache."""
        self.cache = cache
        self.running.clear()
        self.waiting = deque(sorted(self.requests.values(), key=lambda request: request.arrival))
        for request in self.waiting:
            request.forget_blocks()

    # Keep the running

    def _keep_running(self, step: _Step) -> None:
        num_done = 0
        while num_done < len(self.running):
            request = self.running[num_done]
            if not self._make_room(request):
                break
            num_done += 1
            self._put(step, request, num_reserved=len(self.running) - num_done)

    def _put(self, step: _Step, request: Request, num_reserved: int) -> None:
        """Adds the next chunk of `request`, leaving a token and an output to each of `num_reserved`."""
        num_tokens = min(
            request.num_new,
            step.tokens_left - num_reserved,
            request.most_tokens(step.outputs_left - num_reserved),
        )
        chunk = self._chunk(request, num_tokens)
        step.chunks.append(chunk)
        step.tokens_left -= num_tokens
        step.outputs_left -= chunk.num_outputs
        self._note_block_in_work(step, request, num_tokens)

    def _chunk(self, request: Request, num_tokens: int) -> Chunk:
        start, end = request.next_position, request.next_position + num_tokens
        blocks = request.block_ids
        num_blocks = -(-end // self.cache.block_size)
        return Chunk(
            request_id=request.id,
            token_ids=request.tokens_at(start, end),
            start=start,
            num_outputs=request.num_outputs(num_tokens),
            block_ids=blocks if len(blocks) == num_blocks else blocks[:num_blocks],
            adapter=request.adapter,
            virtual=range(request.num_computed, start),
        )

    # Admit the waiting

    def _admit_waiting(self, step: _Step) -> None:
        """First come, first served. Who waits for a prefix that this step computes lets others pass."""
        held: list[Request] = []
        while self._has_place(step, len(held)):
            request = self.waiting[0]
            node = self.cache.match(request)
            if self._is_in_work(step, request, node):
                held.append(self.waiting.popleft())
            elif not self._admit(step, request, node):
                break
        self.waiting.extendleft(reversed(held))

    def _has_place(self, step: _Step, num_held: int) -> bool:
        in_step = step.tokens_left > 0 and step.outputs_left > 0
        return bool(self.waiting) and in_step and len(self.running) + num_held < self.limits.max_sequences

    def _admit(self, step: _Step, request: Request, node: Node) -> bool:
        """Runs `request` from here on if its tokens fit, with a block to grow for each who runs."""
        if not self.cache.admit(request, node, spare=len(self.running)):
            return False
        self.waiting.popleft()
        insort(self.running, request, key=lambda other: other.arrival)
        if request.num_cached is None:
            request.num_cached = request.next_position - request.num_virtual
            self.num_prompt_tokens += request.num_prompt
            self.num_cached_tokens += request.num_cached
        self._put(step, request, num_reserved=0)
        return True

    def _note_block_in_work(self, step: _Step, request: Request, num_tokens: int) -> None:
        node = request.node
        assert node is not None
        if (node.depth + 1) * self.cache.block_size <= request.next_position + num_tokens:
            step.blocks_in_work.add((node, self.cache.key_after(request, node)))

    def _is_in_work(self, step: _Step, request: Request, node: Node) -> bool:
        """The block that `request` would compute first is being computed in this very step.

        Waiting for it gains at least that block, so nobody waits longer than the shared prefix takes.
        """
        if node.depth >= self.cache.num_matchable_blocks(request):
            return False
        return (node, self.cache.key_after(request, node)) in step.blocks_in_work

    # Make room

    def _make_room(self, request: Request) -> bool:
        """Blocks for the next token of `request`; False if it had to give up its own."""
        while not self.cache.extend(request):
            youngest = self.running[-1]
            self._preempt(youngest)
            if youngest is request:
                return False
        return True

    def _preempt(self, request: Request) -> None:
        """Back to the head of the queue. Its full blocks stay cached as long as nobody needs them."""
        self.running.remove(request)
        self.cache.release(request)
        self.waiting.appendleft(request)
        request.num_preemptions += 1
        self.num_preemptions += 1

    def check(self) -> None:
        """Raises InternalError unless the lists, the limits and the cache agree."""
        self.cache.check(self.requests.values())
        everyone = [*self.running, *self.waiting]
        if len(everyone) != len(self.requests) or any(self.requests.get(r.id) is not r for r in everyone):
            raise InternalError("A request is not in exactly one of running and waiting.")
        if any(request.node is None for request in self.running):
            raise InternalError("A running request has no place in the cache.")
        if any(request.node is not None for request in self.waiting):
            raise InternalError("A waiting request holds blocks.")
        if sorted(self.running, key=lambda r: r.arrival) != self.running:
            raise InternalError("The running are not in order of arrival.")
        if len(self.running) > self.limits.max_sequences:
            raise InternalError("More requests run than may.")
