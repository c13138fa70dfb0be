"""The one thread that owns an engine. Everybody else sends it messages.

Sleeps on its inbox while there is nothing to do, and looks into it between two steps otherwise. The
rule: whatever happens, each submitted request gets exactly one last event.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from functools import partial
from queue import Empty, SimpleQueue
from typing import TypeAlias, TypeVar

from fairway.engine.engine import Engine
from fairway.engine.events import FinishReason, TokenEvent
from fairway.engine.request import Request
from fairway.engine.stats import EngineStats
from fairway.engine.token_stream import Mailbox, TokenStream, deliver
from fairway.errors import Busy

log = logging.getLogger(__name__)
Message: TypeAlias = Callable[[], None]
T = TypeVar("T")
_LOOK_S = 0.2


class Worker:
    """Runs `engine` in its own thread from construction to `close`. Every method is safe from any thread."""

    def __init__(self, engine: Engine, name: str = "fairway-engine") -> None:
        self._engine = engine
        self._inbox: SimpleQueue[Message] = SimpleQueue()
        self._mailboxes: dict[str, Mailbox] = {}
        self._stats = engine.stats()
        self._closing = False
        self._aborting = False
        self._thread = threading.Thread(target=self._live, name=name, daemon=True)
        self._thread.start()

    def submit(self, request: Request) -> TokenStream:
        """Queues `request`. Raises ContextExceeded, RequestError or Busy at once."""
        self._engine.enter(request)
        mailbox = Mailbox()
        self._inbox.put(partial(self._accept, request, mailbox))
        return TokenStream(request.id, mailbox, self.abort)

    def abort(self, request_id: str, reason: FinishReason = "abort") -> None:
        """Ends a request within one step. Nothing happens if it has ended already."""
        self._inbox.put(partial(self._abort, request_id, reason))

    def finish(self, request_id: str) -> None:
        """Ends a request whose answer is complete, for example at a stop string."""
        self.abort(request_id, "stop")

    def call(self, action: Callable[[Engine], T]) -> T:
        """What `action` returns, or raises, when it is done to the engine between two steps. Waits for it."""
        done: Future[T] = Future()
        self._inbox.put(partial(_fulfil, done, action, self._engine))
        while True:
            try:
                return done.result(_LOOK_S)
            except NotYet:
                if not self._thread.is_alive() and not done.done():
                    raise Busy("The model is shutting down.", retry_after_s=5) from None

    def stats(self) -> EngineStats:
        """As of the end of the last step."""
        return self._stats

    def close(self, grace_s: float = 0.0) -> None:
        """Takes no more requests, gives the present ones `grace_s` to finish, aborts the rest, ends."""
        self._engine.door.close()
        self._inbox.put(self._begin_closing)
        if grace_s > 0:
            self._thread.join(grace_s)
        self._inbox.put(self._abort_everyone)
        self._thread.join()

    # From here on, in the worker thread

    def _live(self) -> None:
        try:
            while not self._is_done:
                self._read_inbox()
                self._step()
        finally:
            self._give_up()

    @property
    def _is_done(self) -> bool:
        """Closing, and everyone who came through the door has been told the end."""
        return self._closing and len(self._engine.door) == 0

    def _read_inbox(self) -> None:
        """Acts on what is there; waits for something if there is nothing else to do."""
        if not self._engine.has_work:
            self._inbox.get()()
        try:
            while True:
                self._inbox.get_nowait()()
        except Empty:
            return

    def _step(self) -> None:
        try:
            events = self._engine.step()
        except Exception as error:
            log.exception("A step of the engine failed; its requests end with an error.")
            events = self._engine.fail(f"The model failed on this batch: {type(error).__name__}: {error}")
        self._tell(events)

    def _tell(self, events: list[TokenEvent]) -> None:
        self._stats = self._engine.stats()
        deliver([(self._mailboxes[event.request_id], event) for event in events])
        for event in events:
            if event.finish_reason is not None:
                del self._mailboxes[event.request_id]

    def _accept(self, request: Request, mailbox: Mailbox) -> None:
        self._mailboxes[request.id] = mailbox
        self._engine.enqueue(request)
        if self._aborting:
            self._abort(request.id, "abort")

    def _abort(self, request_id: str, reason: FinishReason) -> None:
        event = self._engine.abort(request_id, reason)
        if event is not None:
            self._tell([event])

    def _begin_closing(self) -> None:
        self._closing = True

    def _abort_everyone(self) -> None:
        self._aborting = True
        for request_id in list(self._mailboxes):
            self._abort(request_id, "abort")

    def _give_up(self) -> None:
        """Only after a mistake of our own is there still anyone left."""
        self._engine.door.close()
        message = "The engine has stopped."
        deliver(
            [
                (box, TokenEvent(id, finish_reason="error", error=message))
                for id, box in self._mailboxes.items()
            ]
        )
        self._mailboxes.clear()


def _fulfil(done: Future[T], action: Callable[[Engine], T], engine: Engine) -> None:
    try:
        done.set_result(action(engine))
    except Exception as error:  # noqa: BLE001  whoever waits for it is told
        done.set_exception(error)
