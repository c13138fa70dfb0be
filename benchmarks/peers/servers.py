"""The servers that are compared over HTTP, all behind OpenAI's completions API."""

from __future__ import annotations

import sys
from typing import Protocol

from benchmarks.peers.llama_build import build, llama_tools
from benchmarks.peers.llama_cpp import gguf
from benchmarks.peers.protocol import Model, Place, Unavailable

SLOTS = 32
SLOT_TOKENS = 1024
"""Room of one of llama-server's slots: a shared prefix, own words and an answer."""


class Server(Protocol):
    """How to start one, in the foreground, on a port of this machine."""

    name: str
    variant: str
    ready_path: str

    def install(self, model: Model, place: Place) -> None: ...

    def command(self, model: Model, place: Place, port: int) -> list[str]: ...


class FairwayServer:
    name = "Fairway"
    variant = "int4"
    ready_path = "/v1/models"

    def install(self, model: Model, place: Place) -> None:
        """Nothing: it is what is running."""

    def command(self, model: Model, place: Place, port: int) -> list[str]:
        program = [sys.executable, "-m", "fairway.cli.main", "serve", f"{model.name}={model.folder}"]
        options = ["--weights", self.variant, "--threads", str(place.threads), "--port", str(port)]
        return [*program, *options]


class LlamaServer:
    name = "llama-server"
    variant = "Q4_0"
    ready_path = "/health"

    def install(self, model: Model, place: Place) -> None:
        build(place)
        gguf(model, self.variant, place)

    def command(self, model: Model, place: Place, port: int) -> list[str]:
        path, threads = gguf(model, self.variant, place), str(place.threads)
        program = [str(llama_tools(place) / "llama-server"), "-m", str(path), "--port", str(port)]
        slots = ["-np", str(SLOTS), "-c", str(SLOTS * SLOT_TOKENS), "-t", threads, "-tb", threads]
        return [*program, *slots]


class OpenVinoServer:
    """OpenVINO Model Server. It is a program of its own that no Python package carries."""

    name = "OpenVINO Model Server"
    variant = "int4"
    ready_path = "/v2/health/ready"

    def install(self, model: Model, place: Place) -> None:  # noqa: ARG002
        raise Unavailable("not on the package index: it comes as a container image or an archive")

    def command(self, model: Model, place: Place, port: int) -> list[str]:  # noqa: ARG002
        raise Unavailable("not installed")


SERVERS: tuple[Server, ...] = (FairwayServer(), LlamaServer(), OpenVinoServer())
