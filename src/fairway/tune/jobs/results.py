"""What a finished job left: the fine-tuned model, the adapters of its last epochs, and their names.

The rule: a model is there while its folder is, so that deleting one is removing a folder.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from fairway.tune.jobs.job import JobCheckpoint, TuningJob
from fairway.tune.jobs.job_store import JobStore
from fairway.tune.jobs.run_figures import all_figures, metrics_of
from fairway.tune.run_folder import ADAPTER, EPOCHS

KEPT_EPOCHS = 2
"""Beside the fine-tuned model, which is that of the last one."""


def models_of(store: JobStore, job: TuningJob) -> list[tuple[str, Path]]:
    """(name, adapter) of everything that answers: the result, then epochs before it, the latest first."""
    if job.status != "succeeded":
        return []
    run = store.run_folder(job)
    found = [(job.model_name, run / ADAPTER)]
    found += [(_name(job, step), path) for step, path in reversed(_epochs(run))]
    return [(name, path) for name, path in found if path.is_dir()]


def checkpoints_of(store: JobStore, job: TuningJob) -> list[JobCheckpoint]:
    """Those of `models_of`, with their figures."""
    if job.status != "succeeded":
        return []
    run = store.run_folder(job)
    figures = {each["step"]: each for each in all_figures(run)}
    last = max(figures, default=0)
    found = []
    for name, path in models_of(store, job):
        step = last if name == job.model_name else int(path.parent.name.rpartition("-")[2])
        metrics = metrics_of(figures[step])
        found.append(JobCheckpoint(_id(job, step), int(path.stat().st_mtime), step, name, metrics))
    return found


def forget_early_epochs(run: Path) -> None:
    """All but the last ones."""
    for _, path in _epochs(run)[:-KEPT_EPOCHS]:
        shutil.rmtree(path.parent, ignore_errors=True)


def _epochs(run: Path) -> list[tuple[int, Path]]:
    """(updates done, adapter), the earliest first."""
    folders = [*(run / EPOCHS).glob("step-*")]
    return sorted((int(each.name.rpartition("-")[2]), each / ADAPTER) for each in folders)


def _name(job: TuningJob, step: int) -> str:
    return f"{job.model_name}:ckpt-step-{step}"


def _id(job: TuningJob, step: int) -> str:
    return f"ftckpt-{hashlib.sha256(f'{job.id} {step}'.encode()).hexdigest()[:24]}"


def delete_model(adapter: Path) -> None:
    """It is gone at once, whatever is killed meanwhile."""
    gone = adapter.with_name(f".{adapter.name}.gone")
    adapter.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)
