"""A curve in one line of text that grows with a run: each column is a mean, so that all of it is there."""

from __future__ import annotations

HEIGHTS = "▁▂▃▄▅▆▇█"
WIDTH = 24


class TextCurve:
    """Half to all of `WIDTH` columns, once there are so many values. What one costs does not grow."""

    def __init__(self) -> None:
        self._columns: list[float] = []
        self._last: list[float] = []
        self._at_once = 1
        """Values of a column."""

    def add(self, value: float) -> None:
        self._last.append(value)
        if len(self._last) < self._at_once:
            return
        self._columns.append(sum(self._last) / len(self._last))
        self._last = []
        if len(self._columns) > WIDTH:
            pairs = zip(self._columns[::2], self._columns[1::2], strict=False)
            self._last = self._columns[-1:] * self._at_once
            self._columns = [(one + other) / 2 for one, other in pairs]
            self._at_once *= 2

    def __str__(self) -> str:
        low, high = min(self._columns, default=0.0), max(self._columns, default=0.0)
        top = len(HEIGHTS) - 1
        return "".join(
            HEIGHTS[round((each - low) / (high - low) * top) if high > low else 0] for each in self._columns
        )
