"""transformers on PyTorch, in bf16: the reference that everyone starts from."""

from __future__ import annotations

from benchmarks.comparison.environments import TORCH, ensure_environment
from benchmarks.peers.protocol import Command, Model, Place


class Transformers:
    name = "transformers"
    environment = "transformers"
    variants = ("bf16",)
    worker = "transformers_worker.py"

    def install(self, place: Place) -> None:
        ensure_environment(place.environment(self.environment), [TORCH, "transformers"])

    def prepare(self, model: Model, variant: str, place: Place) -> Command:  # noqa: ARG002
        python = place.environment(self.environment) / "bin" / "python"
        return Command(python, self.worker, model.folder)
