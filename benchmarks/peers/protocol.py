"""What the comparison asks of a peer: install yourself, make your format of a model, name your worker.

A peer knows its own tools and nothing of the others. Whatever makes it unable to run is raised as
`Unavailable` with one line, which the table shows; nothing is left out silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


class Unavailable(Exception):
    """A peer that cannot be installed or run here; the message is one line for the table."""


@dataclass(frozen=True)
class Place:
    """Where everything that is installed, built or converted is kept, and what may be used for it."""

    cache: Path
    threads: int
    jobs: int = 1
    """Processes that build at once."""
    llama_tools: Path | None = None
    """Tools of llama.cpp that exist already."""

    def environment(self, peer: str) -> Path:
        return self.cache / "venvs" / peer

    def log(self, name: str) -> Path:
        return self.cache / "logs" / f"{_file_name(name)}.log"

    def kept(self, name: str) -> Path:
        """What an engine keeps between two starts, if it keeps anything: packed or compiled models."""
        return self.cache / "kept" / _file_name(name)


def _file_name(name: str) -> str:
    return name.lower().replace(" ", "-").replace(".", "-")


@dataclass(frozen=True)
class Model:
    """A Hugging Face folder that all peers start from, and what the workloads must know of it."""

    name: str
    folder: Path
    vocab_size: int
    context: int
    num_matrix_weights: int
    """Weights multiplied with every prompt token: all matrices but embedding and logits."""
    made: Path
    """Where other formats of it are kept."""


@dataclass(frozen=True)
class Command:
    """How to start a worker: the interpreter, its script in `workers/`, the prepared model."""

    python: Path
    script: str
    model: Path
    tools: str = ""
    """Folder of built programs, where the peer is one."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables beside those that are there already."""


class Peer(Protocol):
    """One engine. `install` may take minutes the first time and nothing afterwards; so may `prepare`."""

    name: str
    environment: str
    variants: tuple[str, ...]
    worker: str
    """Its script in `workers/`."""

    def install(self, place: Place) -> None: ...

    def prepare(self, model: Model, variant: str, place: Place) -> Command: ...
