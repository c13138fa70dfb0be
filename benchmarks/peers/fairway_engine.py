"""Fairway itself, from the Python that runs the comparison."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.peers.protocol import Command, Model, Place


class Fairway:
    name = "Fairway"
    environment = "fairway"
    variants = ("int4", "int8")
    worker = "fairway_worker.py"

    def install(self, place: Place) -> None:
        """Nothing: it is what is running."""

    def prepare(self, model: Model, variant: str, place: Place) -> Command:  # noqa: ARG002
        """It reads the folder and packs it by itself."""
        return Command(Path(sys.executable), self.worker, model.folder)
