"""A run in MLflow: in a local store, mlflow.db and mlartifacts beside the run's folder.

MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME say otherwise, as everywhere in MLflow.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fairway.tune.tracking import TrackedRun

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
for quiet in ("mlflow", "alembic"):
    logging.getLogger(quiet).setLevel(logging.WARNING)

from mlflow import MlflowClient  # noqa: E402  which reads the environment
from mlflow.entities import Metric, Param, RunTag  # noqa: E402

EXPERIMENT = "fairway"
LONGEST_VALUE = 6000


class MlflowTracker:
    """`tracking.Tracker` over one MLflow run."""

    def __init__(self) -> None:
        self._client: Any = None
        self._id = ""

    def begin(self, run: TrackedRun) -> str:
        beside = run.folder.absolute().parent
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{beside / 'mlflow.db'}"
        self._client = MlflowClient(tracking_uri=uri)
        if run.known_id is not None:
            self._id = run.known_id
            self._client.update_run(self._id, status="RUNNING")
            return self._id
        tags = {key: value[:LONGEST_VALUE] for key, value in run.tags.items()}
        made = self._client.create_run(self._experiment(uri, beside), run_name=run.folder.absolute().name)
        self._id = str(made.info.run_id)
        parameters = [Param(key, str(value)[:LONGEST_VALUE]) for key, value in run.parameters.items()]
        self._client.log_batch(self._id, params=parameters, tags=[RunTag(*each) for each in tags.items()])
        return self._id

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        self._client.log_batch(
            self._id, metrics=[Metric(key, value, now, step) for key, value in figures.items()]
        )

    def finish(self, files: Sequence[Path], *, completed: bool) -> None:
        for path in files:
            if path.is_dir():
                self._client.log_artifacts(self._id, str(path), path.name)
            else:
                self._client.log_artifact(self._id, str(path))
        self._client.set_terminated(self._id, "FINISHED" if completed else "KILLED")

    def _experiment(self, uri: str, beside: Path) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        known = self._client.get_experiment_by_name(name)
        if known is not None:
            return str(known.experiment_id)
        place = (beside / "mlartifacts").as_uri() if uri.startswith("sqlite:") else None
        return str(self._client.create_experiment(name, artifact_location=place))


def tracker() -> MlflowTracker:
    return MlflowTracker()
