"""Jobs, events and checkpoints in OpenAI's shapes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fairway.tune.jobs.job import Event, JobCheckpoint, TuningJob

ORGANIZATION = "fairway"


def job_answer(job: TuningJob) -> dict[str, Any]:
    asked = job.asked
    used = {name: value for name, value in asdict(job.hyperparameters).items() if value is not None}
    older = {name: value for name, value in used.items() if name != "beta"}
    return {
        "id": job.id,
        "object": "fine_tuning.job",
        "created_at": job.created_s,
        "finished_at": job.finished_s,
        "estimated_finish": job.estimated_finish_s,
        "status": job.status,
        "model": asked.base.name,
        "fine_tuned_model": job.fine_tuned_model,
        "organization_id": ORGANIZATION,
        "training_file": asked.training_file,
        "validation_file": asked.validation_file,
        "result_files": list(job.result_files),
        "hyperparameters": older,
        "method": {"type": asked.method, asked.method: {"hyperparameters": used}},
        "trained_tokens": job.trained_tokens,
        "seed": asked.seed,
        "integrations": [],
        "user_provided_suffix": asked.suffix,
        "metadata": asked.metadata,
        "error": None if job.error is None else asdict(job.error),
    }


def event_answer(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "object": "fine_tuning.job.event",
        "created_at": event.created_s,
        "level": event.level,
        "message": event.message,
        "type": event.type,
        "data": event.data,
    }


def checkpoint_answer(job_id: str, checkpoint: JobCheckpoint) -> dict[str, Any]:
    return {
        "id": checkpoint.id,
        "object": "fine_tuning.job.checkpoint",
        "created_at": checkpoint.created_s,
        "fine_tuning_job_id": job_id,
        "fine_tuned_model_checkpoint": checkpoint.model,
        "step_number": checkpoint.step,
        "metrics": checkpoint.metrics,
    }
