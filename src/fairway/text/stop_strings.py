"""Finds stop strings in text that arrives in pieces, and gives back what is safe to send.

However the text is cut, the result is that of searching all of it: the stop that is complete first
wins, the longest of several that end together. Text that could still become a stop string waits.
An Aho-Corasick automaton: constant work per character, whatever the number of stops.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from fairway.errors import RequestError


@dataclass
class _State:
    """A prefix of some stop string: the longest one that the text so far ends with."""

    depth: int
    next: dict[str, _State] = field(default_factory=dict)
    fallback: _State | None = None
    stop: str | None = None
    """The longest stop string that ends here."""


class StopStrings:
    """`push` text, send what it returns; once `stopped` is set, nothing more comes."""

    def __init__(self, stops: Iterable[str], *, include_stop: bool = False) -> None:
        self.stopped: str | None = None
        self._include_stop = include_stop
        self._start = _automaton(stops)
        self._state = self._start
        self._held = ""

    def push(self, text: str) -> str:
        """The part of the text so far that cannot belong to a stop string and was not sent before."""
        if self.stopped is not None:
            return ""
        if not self._start.next:
            return text
        for index, letter in enumerate(text):
            self._state = _step(self._state, letter)
            if self._state.stop is not None:
                return self._stop_at(self._state.stop, text[: index + 1])
        seen = self._held + text
        safe = len(seen) - self._state.depth
        self._held = seen[safe:]
        return seen[:safe]

    def flush(self) -> str:
        """The text that waited for a stop string that never came."""
        held, self._held = self._held, ""
        self._state = self._start
        return held

    def _stop_at(self, stop: str, text: str) -> str:
        self.stopped = stop
        seen = self._held + text
        self._held = ""
        return seen if self._include_stop else seen[: len(seen) - len(stop)]


def _step(state: _State, letter: str) -> _State:
    while letter not in state.next:
        if state.fallback is None:
            return state
        state = state.fallback
    return state.next[letter]


def _automaton(stops: Iterable[str]) -> _State:
    start = _State(0)
    for stop in stops:
        if not isinstance(stop, str) or not stop:
            raise RequestError(f"A stop string must be a non-empty string, not {stop!r}.", param="stop")
        state = start
        for letter in stop:
            state = state.next.setdefault(letter, _State(state.depth + 1))
        state.stop = stop
    _link(start)
    return start


def _link(start: _State) -> None:
    """Fallbacks, breadth first: the longest shorter prefix that the same text ends with."""
    waiting = deque([start])
    while waiting:
        state = waiting.popleft()
        for letter, child in state.next.items():
            child.fallback = start if state.fallback is None else _step(state.fallback, letter)
            child.stop = child.stop or child.fallback.stop
            waiting.append(child)
