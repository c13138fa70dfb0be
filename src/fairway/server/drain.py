"""Stopping without cutting anyone off: first no new answers, then an end to those that run.

Belongs to the event loop's thread. `stop` and `abort` may be called more than once.
"""

from __future__ import annotations

from typing import Protocol

from fairway.errors import Busy

STOPPING = "The server is stopping."


class Abortable(Protocol):
    """An answer that can be ended from outside; its client is told why."""

    def abort(self, reason: Busy) -> None: ...


class Drain:
    """The answers that are running, and whether new ones may start."""

    def __init__(self) -> None:
        self.stopping = False
        self._running: set[Abortable] = set()

    def refuse_if_stopping(self) -> None:
        if self.stopping:
            raise Busy(STOPPING, hint="Try again in a moment.")

    def enter(self, running: Abortable) -> None:
        self._running.add(running)

    def leave(self, running: Abortable) -> None:
        self._running.discard(running)

    def stop(self) -> None:
        self.stopping = True

    def abort(self) -> None:
        for running in list(self._running):
            running.abort(Busy(STOPPING, hint="The answer is not complete; ask again."))
