"""llama.cpp, built for this processor: Q4_0 throughout, Q8_0 and Q4_K_M as llama-quantize mixes them."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.comparison.environments import run, whole
from benchmarks.peers.llama_build import build, llama_tools
from benchmarks.peers.llama_gguf import write_bf16_gguf
from benchmarks.peers.protocol import Command, Model, Place


class LlamaCpp:
    name = "llama.cpp"
    environment = "llama.cpp"
    variants = ("Q4_0", "Q8_0", "Q4_K_M")
    worker = "llama_cpp_worker.py"

    def install(self, place: Place) -> None:
        build(place)

    def prepare(self, model: Model, variant: str, place: Place) -> Command:
        path = gguf(model, variant, place)
        return Command(Path(sys.executable), self.worker, path, str(llama_tools(place)))


def gguf(model: Model, variant: str, place: Place) -> Path:
    """`--pure` keeps the tied embedding of Q4_0 in 4 bits too: the fastest that this type can be."""
    path = model.made / f"{variant}.gguf"
    if path.exists():
        return path
    source = model.made / "bf16.gguf"
    if not source.exists():
        with whole(source) as partial:
            write_bf16_gguf(model.folder, partial)
    pure = ["--pure"] if variant == "Q4_0" else []
    with whole(path) as partial:
        quantize = [str(llama_tools(place) / "llama-quantize"), *pure, str(source), str(partial)]
        run([*quantize, variant, str(place.jobs)], place.log(f"{model.name}-{variant}"))
    return path
