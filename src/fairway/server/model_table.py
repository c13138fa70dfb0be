"""The models a server answers for, by the name clients use.

A plain table: it loads and evicts nothing. Names are unique; an unknown one is an error that lists
those that are served.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fairway.errors import ModelNotFound, RequestError
from fairway.runtimes.protocol import Runtime


class ModelTable(Mapping[str, Runtime]):
    """Model name -> runtime, in the order they were given."""

    def __init__(self, runtimes: Mapping[str, Runtime]) -> None:
        self._runtimes = dict(runtimes)

    def __getitem__(self, name: str) -> Runtime:
        return self._runtimes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._runtimes)

    def __len__(self) -> int:
        return len(self._runtimes)

    def find(self, name: str | None) -> tuple[str, Runtime]:
        """The model a request names. It may leave the name out when there is only one model."""
        if name is None:
            return self._only_one()
        if name not in self._runtimes:
            raise ModelNotFound(
                f"There is no model {_short(name)!r} here.", hint=self._served(), param="model"
            )
        return name, self._runtimes[name]

    def _only_one(self) -> tuple[str, Runtime]:
        if len(self._runtimes) != 1:
            raise RequestError("The field model is missing.", hint=self._served(), param="model")
        return next(iter(self._runtimes.items()))

    def _served(self) -> str:
        names = ", ".join(self._runtimes)
        return f"Served: {names}." if names else "No model is loaded."


def _short(name: str, limit: int = 80) -> str:
    return name if len(name) <= limit else name[:limit] + "..."
