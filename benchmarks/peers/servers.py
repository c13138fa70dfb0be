"""The servers that are compared over HTTP, all behind OpenAI's completions API."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from benchmarks.peers.llama_build import build, llama_tools
from benchmarks.peers.llama_cpp import gguf
from benchmarks.peers.protocol import Model, Place, Unavailable
from benchmarks.peers.vllm_cpu import Vllm, vllm_variables

SLOTS = 32
SLOT_TOKENS = 1024
"""Room of one sequence: a shared prefix, own words and an answer."""


@dataclass(frozen=True)
class Launch:
    """A command line, and variables of the environment beside those that are there already."""

    words: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


class Server(Protocol):
    """How to start one, in the foreground, on a port of this machine."""

    name: str
    variant: str
    engine: str
    """Whose row in the table of engines has the same variant."""
    ready_path: str

    def install(self, model: Model, place: Place) -> None: ...

    def launch(self, model: Model, place: Place, port: int) -> Launch: ...


class FairwayServer:
    name = "Fairway"
    variant = "int4"
    engine = "Fairway"
    ready_path = "/v1/models"

    def install(self, model: Model, place: Place) -> None:
        """Nothing: it is what is running."""

    def launch(self, model: Model, place: Place, port: int) -> Launch:
        program = [sys.executable, "-m", "fairway.cli.main", "serve", f"{model.name}={model.folder}"]
        options = ["--weights", self.variant, "--threads", str(place.threads), "--port", str(port)]
        return Launch([*program, *options])


class LlamaServer:
    name = "llama-server"
    variant = "Q4_0"
    engine = "llama.cpp"
    ready_path = "/health"

    def install(self, model: Model, place: Place) -> None:
        build(place)
        gguf(model, self.variant, place)

    def launch(self, model: Model, place: Place, port: int) -> Launch:
        path, threads = gguf(model, self.variant, place), str(place.threads)
        program = [str(llama_tools(place) / "llama-server"), "-m", str(path), "--port", str(port)]
        slots = ["-np", str(SLOTS), "-c", str(SLOTS * SLOT_TOKENS), "-t", threads, "-tb", threads]
        return Launch([*program, *slots])


class VllmServer:
    """Its prefix cache is on, as it is by default."""

    name = "vLLM CPU"
    variant = "bf16"
    engine = "vLLM CPU"
    ready_path = "/health"

    def install(self, model: Model, place: Place) -> None:  # noqa: ARG002
        Vllm().install(place)

    def launch(self, model: Model, place: Place, port: int) -> Launch:
        python = place.environment(Vllm.environment) / "bin" / "python"
        program = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model.folder)]
        where = ["--served-model-name", model.name, "--host", "127.0.0.1", "--port", str(port)]
        sizes = ["--max-model-len", str(SLOT_TOKENS), "--max-num-seqs", str(SLOTS), "--dtype", "bfloat16"]
        return Launch([*program, *where, *sizes], vllm_variables(place))


class OpenVinoServer:
    """OpenVINO Model Server. It is a program of its own that no Python package carries."""

    name = "OpenVINO Model Server"
    variant = "int4"
    engine = "OpenVINO GenAI"
    ready_path = "/v2/health/ready"

    def install(self, model: Model, place: Place) -> None:  # noqa: ARG002
        raise Unavailable("not on the package index: it comes as a container image or an archive")

    def launch(self, model: Model, place: Place, port: int) -> Launch:  # noqa: ARG002
        raise Unavailable("not installed")


SERVERS: tuple[Server, ...] = (FairwayServer(), LlamaServer(), VllmServer(), OpenVinoServer())
