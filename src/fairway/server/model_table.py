"""The models a server answers for, by the name clients use, and their adapters.

A plain table: it loads and evicts no model. Names are unique among models and adapters; an unknown one
is an error that lists those that are served.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from fairway.errors import ModelNotFound, RequestError, UnsupportedError
from fairway.runtimes.adapted import AdaptedRuntime
from fairway.runtimes.adapters import AdapterInfo
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
        if name in self._runtimes:
            return name, self._runtimes[name]
        for model, adapter in self.adapters():
            if name in (adapter.name, f"{model}:{adapter.name}"):
                return name, AdaptedRuntime(self._runtimes[model], adapter)
        raise ModelNotFound(f"There is no model {_short(name)!r} here.", hint=self._served(), param="model")

    def adapters(self) -> list[tuple[str, AdapterInfo]]:
        """(model, adapter) of every adapter that is loaded."""
        tables = [(model, runtime.adapters) for model, runtime in self._runtimes.items()]
        return [(model, info) for model, table in tables if table for info in table.infos.values()]

    def load_adapter(self, name: str, path: Path, model: str | None, *, replace: bool = False) -> None:
        """Onto that model, or the only one. Blocks; safe from any thread."""
        model, runtime = self._base(model)
        if runtime.adapters is None:
            raise UnsupportedError(
                f"The model {model} takes no adapters.", hint="Start it with --max-loras above 0."
            )
        if name in self._runtimes or any(
            other != model and name == each.name for other, each in self.adapters()
        ):
            raise RequestError(f"The name {_short(name)!r} is taken.", hint=self._served(), param="lora_name")
        runtime.adapters.load(name, path, replace=replace)

    def unload_adapter(self, name: str) -> None:
        """Blocks; safe from any thread."""
        for model, adapter in self.adapters():
            table = self._runtimes[model].adapters
            if name in (adapter.name, f"{model}:{adapter.name}") and table:
                return table.unload(adapter.name)
        raise ModelNotFound(
            f"There is no adapter {_short(name)!r} here.", hint=self._served(), param="lora_name"
        )

    def _base(self, model: str | None) -> tuple[str, Runtime]:
        if model is None:
            return self._only_one()
        if model not in self._runtimes:
            raise ModelNotFound(
                f"There is no model {_short(model)!r} here.", hint=self._served(), param="model"
            )
        return model, self._runtimes[model]

    def _only_one(self) -> tuple[str, Runtime]:
        if len(self._runtimes) != 1:
            raise RequestError("The field model is missing.", hint=self._served(), param="model")
        return next(iter(self._runtimes.items()))

    def _served(self) -> str:
        names = ", ".join([*self._runtimes, *(adapter.name for _, adapter in self.adapters())])
        return f"Served: {names}." if names else "No model is loaded."


def _short(name: str, limit: int = 80) -> str:
    return name if len(name) <= limit else name[:limit] + "..."
