"""What a run says about itself: lines of figures while it trains, all of them as OpenAI's result file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fairway.errors import FairwayError
from fairway.formats.json_text import read_object
from fairway.tune.run_folder import FACTS, METRICS

ACCURACY = "mean_token_accuracy"
COLUMNS = {
    "step": "step",
    "train_loss": "loss",
    "train_accuracy": ACCURACY,
    "valid_loss": "held_out_loss",
    "valid_mean_token_accuracy": f"held_out_{ACCURACY}",
}
"""OpenAI's -> the run's. Empty is what was not measured with that update."""
METRICS_OF_STEP = {
    "train_loss": "loss",
    "train_mean_token_accuracy": ACCURACY,
    "valid_loss": "held_out_loss",
    "valid_mean_token_accuracy": f"held_out_{ACCURACY}",
    "full_valid_loss": "held_out_loss",
    "full_valid_mean_token_accuracy": f"held_out_{ACCURACY}",
}
"""The same for what OpenAI tells of a step. All held-out rows are measured each time: both losses are one."""


class Follower:
    """New lines of a file that grows, and is begun again when a run goes on from a checkpoint."""

    def __init__(self, run: Path, last_step: int) -> None:
        self._path = run / METRICS
        self._last_step = last_step
        self._inode = self._offset = 0

    def new_lines(self) -> Iterator[dict[str, Any]]:
        """Figures of updates that have not been seen, in their order."""
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            inode = self._path.stat().st_ino
            if inode != self._inode:
                self._inode, self._offset = inode, 0
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._offset += len(line)
                figures = json.loads(line)
                if figures["step"] > self._last_step:
                    self._last_step = figures["step"]
                    yield figures


def is_begun(run: Path) -> bool:
    """Whether there is a run to go on with."""
    return (run / FACTS).is_file()


def is_finished(run: Path) -> bool:
    """Whether its result is there."""
    try:
        return bool(read_object(run / FACTS).get("finished"))
    except (OSError, FairwayError):
        return False


def all_figures(run: Path) -> list[dict[str, Any]]:
    """Of every update."""
    path = run / METRICS
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines]


def metrics_of(figures: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of one update, by OpenAI's names."""
    known = {name: figures[ours] for name, ours in METRICS_OF_STEP.items() if ours in figures}
    return {"step": figures["step"], **known}


def result_csv(figures: list[dict[str, Any]]) -> bytes:
    """OpenAI's step_metrics.csv."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([each.get(name, "") for name in COLUMNS.values()] for each in figures)
    return written.getvalue().encode("utf-8")
