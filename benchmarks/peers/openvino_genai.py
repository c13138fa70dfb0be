"""OpenVINO GenAI: int4 and int8 by optimum-intel's own defaults for each."""

from __future__ import annotations

from benchmarks.comparison.environments import TORCH, ensure_environment, run, whole
from benchmarks.peers.protocol import Command, Model, Place


class OpenVino:
    name = "OpenVINO GenAI"
    environment = "openvino_genai"
    variants = ("int4", "int8")
    worker = "openvino_genai_worker.py"

    def install(self, place: Place) -> None:
        """torchvision comes along and has no build that fits the CPU build of torch; text needs none."""
        requirements = [TORCH, "openvino-genai", "optimum-intel", "nncf"]
        ensure_environment(place.environment(self.environment), requirements, remove=["torchvision"])

    def prepare(self, model: Model, variant: str, place: Place) -> Command:
        environment = place.environment(self.environment)
        folder = model.made / f"openvino-{variant}"
        if not folder.exists():
            tool = [str(environment / "bin" / "optimum-cli"), "export", "openvino", "--model"]
            task = ["--task", "text-generation-with-past", "--weight-format", variant]
            with whole(folder) as partial:
                run([*tool, str(model.folder), *task, str(partial)], place.log(f"{model.name}-{folder.name}"))
        return Command(environment / "bin" / "python", self.worker, folder)
