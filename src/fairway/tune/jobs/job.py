"""A fine-tuning job as it is kept on disk: what was asked, how far it is, what came of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

Status: TypeAlias = Literal[
    "validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled"
]
Auto: TypeAlias = Literal["auto"]


@dataclass(frozen=True)
class Hyperparameters:
    """As OpenAI has them. "auto" until the number of examples is known."""

    n_epochs: int | Auto = "auto"
    batch_size: int | Auto = "auto"
    learning_rate_multiplier: float | Auto = "auto"
    beta: float | Auto | None = None
    """Of dpo alone."""


@dataclass(frozen=True)
class Base:
    """The served model that is trained, so that it is known again after a restart."""

    name: str
    path: str
    architecture: str
    num_parameters: int


@dataclass(frozen=True)
class JobError:
    """Why a job failed."""

    code: str
    message: str
    param: str | None = None


@dataclass(frozen=True)
class Asked:
    """What the client wants."""

    base: Base
    training_file: str
    validation_file: str | None = None
    method: Literal["supervised", "dpo"] = "supervised"
    hyperparameters: Hyperparameters = field(default_factory=Hyperparameters)
    suffix: str | None = None
    seed: int = 0
    metadata: dict[str, str] | None = None


@dataclass(frozen=True)
class TuningJob:
    """One job. Times are in seconds since 1970."""

    id: str
    asked: Asked
    created_s: int
    status: Status = "validating_files"
    hyperparameters: Hyperparameters = field(default_factory=Hyperparameters)
    """Those asked for; once validated, those that are used."""
    num_examples: int = 0
    begun_s: int | None = None
    finished_s: int | None = None
    estimated_finish_s: int | None = None
    trained_tokens: int | None = None
    fine_tuned_model: str | None = None
    """It stays here when the model is deleted."""
    result_files: tuple[str, ...] = ()
    error: JobError | None = None

    @property
    def model_name(self) -> str:
        """What the result will be called."""
        return f"ft:{self.asked.base.name}:{self.asked.suffix or ''}:{self.id.rpartition('-')[2][:8]}"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def job_from_dict(values: dict[str, Any]) -> TuningJob:
    """What `to_dict` wrote. Raises `TypeError` or `KeyError` for anything else."""
    asked = dict(values["asked"])
    asked["base"] = Base(**asked["base"])
    asked["hyperparameters"] = Hyperparameters(**asked["hyperparameters"])
    error = values.get("error")
    return TuningJob(
        **values
        | {
            "asked": Asked(**asked),
            "hyperparameters": Hyperparameters(**values["hyperparameters"]),
            "result_files": tuple(values.get("result_files", ())),
            "error": None if error is None else JobError(**error),
        }
    )


@dataclass(frozen=True)
class Event:
    """One line of what happened to a job."""

    id: str
    created_s: int
    message: str
    level: Literal["info", "warn", "error"] = "info"
    type: Literal["message", "metrics"] = "message"
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class JobCheckpoint:
    """An adapter as it was after an epoch."""

    id: str
    created_s: int
    step: int
    model: str
    metrics: dict[str, float]
