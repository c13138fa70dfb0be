"""Adapters of a running engine: they come between two steps, and go when their last request has ended.

Knows identities, not names or files. The rule: an adapter leaves the runner only when nobody inside
has it, and from `Door.refuse` on nobody new comes in with it.
"""

from __future__ import annotations

from fairway.engine.door import Door
from fairway.engine.runner import Runner
from fairway.kernels.program import PackedAdapter


class Adapters:
    """Belongs to the thread that owns the engine."""

    def __init__(self, runner: Runner, door: Door) -> None:
        self._runner = runner
        self._door = door
        self._loaded: set[str] = set()
        self._leaving: set[str] = set()

    def load(self, adapter: str, packed: PackedAdapter) -> None:
        """Requests of this identity may come from now on."""
        self._leaving.discard(adapter)
        if adapter not in self._loaded:
            self._runner.load_adapter(adapter, packed)
            self._loaded.add(adapter)
        self._door.admit(adapter)

    def unload(self, adapter: str) -> None:
        """Nobody comes in with it any more; those who are inside finish first."""
        self._door.refuse(adapter)
        self._leaving |= self._loaded & {adapter}
        self.release()

    def release(self) -> None:
        """Frees those that leave and that nobody has."""
        for adapter in [each for each in self._leaving if not self._door.num_inside(each)]:
            self._runner.unload_adapter(adapter)
            self._leaving.discard(adapter)
            self._loaded.discard(adapter)
