"""ONNX Runtime GenAI: int4 in blocks of 32 with int8 arithmetic, by its own model builder."""

from __future__ import annotations

from benchmarks.comparison.environments import TORCH, ensure_environment, run, whole
from benchmarks.peers.protocol import Command, Model, Place

OPTIONS = ("int4_block_size=32", "int4_accuracy_level=4")


class OnnxRuntime:
    name = "ONNX Runtime GenAI"
    environment = "onnxruntime_genai"
    variants = ("int4",)
    worker = "onnxruntime_genai_worker.py"

    def install(self, place: Place) -> None:
        requirements = [TORCH, "onnxruntime-genai", "onnxruntime", "onnx", "onnx_ir", "transformers"]
        ensure_environment(place.environment(self.environment), requirements)

    def prepare(self, model: Model, variant: str, place: Place) -> Command:
        python = place.environment(self.environment) / "bin" / "python"
        folder = model.made / f"onnxruntime-{variant}"
        if not folder.exists():
            builder = [str(python), "-m", "onnxruntime_genai.models.builder", "-i", str(model.folder)]
            kind = ["-p", variant, "-e", "cpu", "-c", str(model.made / "onnxruntime-cache")]
            with whole(folder) as partial:
                run(
                    [*builder, *kind, "-o", str(partial), "--extra_options", *OPTIONS],
                    place.log(f"{model.name}-{folder.name}"),
                )
        return Command(python, self.worker, folder)
