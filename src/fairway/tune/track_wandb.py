"""A run in Weights & Biases: offline, into the folder `wandb` beside the run's, or as WANDB_MODE says.

`wandb sync` sends it later. WANDB_PROJECT names the project, as everywhere in W&B.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb

from fairway.tune.tracking import TrackedRun

PROJECT = "fairway"


class WandbTracker:
    """`tracking.Tracker` over one W&B run."""

    def __init__(self) -> None:
        self._run: Any = None
        self._name = ""

    def begin(self, run: TrackedRun) -> str:
        self._name = run.folder.absolute().name
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            name=self._name,
            id=run.known_id,
            resume="allow",
            dir=str(run.folder.absolute().parent),
            mode=os.environ.get("WANDB_MODE") or "offline",
            config={**run.parameters, "lineage": dict(run.tags)},
            settings=wandb.Settings(console="off", silent=True),
        )
        return str(self._run.id)

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        self._run.log(dict(figures), step=step)

    def finish(self, files: Sequence[Path], *, completed: bool) -> None:
        if completed:
            kept = wandb.Artifact(f"{self._name}-{self._run.id}", type="model")
            for path in files:
                if path.is_dir():
                    kept.add_dir(str(path), name=path.name)
                else:
                    kept.add_file(str(path))
            self._run.log_artifact(kept)
        self._run.finish(exit_code=0 if completed else 1)


def tracker() -> WandbTracker:
    return WandbTracker()
