"""What /v1/fine_tuning takes and answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WrapValidator

from fairway.server.validation import described

MAX_SEED = (1 << 31) - 1
Number = Annotated[float, Field(gt=0, le=1000)]
Epochs = Annotated[
    Literal["auto"] | Annotated[int, Field(ge=1, le=1000)],
    WrapValidator(described('"auto" or a whole number from 1 to 1000')),
]
BatchSize = Annotated[
    Literal["auto"] | Annotated[int, Field(ge=1, le=1024)],
    WrapValidator(described('"auto" or a whole number from 1 to 1024')),
]
Multiplier = Annotated[
    Literal["auto"] | Number, WrapValidator(described('"auto" or a number above 0, at most 1000'))
]
Beta = Annotated[
    Literal["auto"] | Annotated[float, Field(gt=0, le=2)],
    WrapValidator(described('"auto" or a number above 0, at most 2')),
]
Text = Annotated[str, Field(max_length=512)]
Key = Annotated[str, Field(max_length=64)]


class SupervisedHyperparameters(BaseModel):
    """Of learning from answers."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    n_epochs: Epochs = Field("auto", description="How often every example is seen; auto: by their number.")
    batch_size: BatchSize = Field("auto", description="Examples of one update; auto: by their number.")
    learning_rate_multiplier: Multiplier = Field(
        "auto", description="Times the learning rate of the server's recipe; auto: 1."
    )


class DpoHyperparameters(SupervisedHyperparameters):
    """Of learning from preferences."""

    beta: Beta = Field("auto", description="How far the model may leave the base; auto: the recipe's.")


class SupervisedMethod(BaseModel):
    """Learning from answers."""

    model_config = ConfigDict(strict=True, extra="forbid")

    hyperparameters: SupervisedHyperparameters | None = None


class DpoMethod(BaseModel):
    """Learning from preferences."""

    model_config = ConfigDict(strict=True, extra="forbid")

    hyperparameters: DpoHyperparameters | None = None


class TuningMethod(BaseModel):
    """How the model learns."""

    model_config = ConfigDict(strict=True, extra="forbid")

    type: Literal["supervised", "dpo"]
    supervised: SupervisedMethod | None = None
    dpo: DpoMethod | None = None


class CreateJobRequest(BaseModel):
    """A fine-tuning job to create."""

    model_config = ConfigDict(strict=True, extra="allow")

    model: str = Field(description="A model that is served here; the result becomes an adapter beside it.")
    training_file: str = Field(description="Id of an uploaded file.")
    validation_file: str | None = Field(None, description="Id of a file that the loss is measured with.")
    hyperparameters: SupervisedHyperparameters | None = Field(
        None, description="The older place of method.supervised.hyperparameters."
    )
    method: TuningMethod | None = Field(None, description="Unset: supervised.")
    suffix: str | None = Field(
        None, pattern=r"^[\w.-]{1,64}$", description="Part of the name of the result: ft:MODEL:SUFFIX:ID."
    )
    seed: int | None = Field(None, ge=0, le=MAX_SEED, description="Same seed and data, same result.")
    integrations: list[dict[str, Any]] | None = Field(
        None, description="None are there; the run folder holds all figures."
    )
    metadata: dict[Key, Text] | None = Field(None, max_length=16, description="Kept with the job.")


class ListJobsQuery(BaseModel):
    """Which jobs; metadata[KEY]=VALUE chooses among them."""

    model_config = ConfigDict(extra="allow")

    limit: int = Field(20, ge=1, le=100, description="Most that are listed.")
    after: str | None = Field(None, description="Those that follow the one of this id.")


class ListPartsQuery(BaseModel):
    """Which events or checkpoints."""

    model_config = ConfigDict(extra="allow")

    limit: int = Field(20, ge=1, le=1000, description="Most that are listed.")
    after: str | None = Field(None, description="Those that follow the one of this id.")


class JobErrorAnswer(BaseModel):
    """Why a job failed."""

    code: str
    message: str
    param: str | None


class HyperparametersAnswer(BaseModel):
    """Those of a job: as asked for, and once the files are checked, as used."""

    n_epochs: int | Literal["auto"]
    batch_size: int | Literal["auto"]
    learning_rate_multiplier: float | Literal["auto"]


class FineTuningJobAnswer(BaseModel):
    """A fine-tuning job."""

    id: str
    object: Literal["fine_tuning.job"]
    created_at: int
    finished_at: int | None
    estimated_finish: int | None
    status: Literal["validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled"]
    model: str
    fine_tuned_model: str | None
    organization_id: str
    training_file: str
    validation_file: str | None
    result_files: list[str]
    hyperparameters: HyperparametersAnswer
    method: dict[str, Any]
    trained_tokens: int | None
    seed: int
    integrations: list[Any]
    user_provided_suffix: str | None
    metadata: dict[str, str] | None
    error: JobErrorAnswer | None


class FineTuningJobList(BaseModel):
    """A page of jobs, the newest first."""

    object: Literal["list"]
    data: list[FineTuningJobAnswer]
    first_id: str | None
    last_id: str | None
    has_more: bool


class FineTuningEvent(BaseModel):
    """One line of what happened."""

    id: str
    object: Literal["fine_tuning.job.event"]
    created_at: int
    level: Literal["info", "warn", "error"]
    message: str
    type: Literal["message", "metrics"]
    data: dict[str, Any]


class FineTuningEventList(BaseModel):
    """A page of events, the newest first."""

    object: Literal["list"]
    data: list[FineTuningEvent]
    first_id: str | None
    last_id: str | None
    has_more: bool


class FineTuningCheckpoint(BaseModel):
    """A model as it was after an epoch."""

    id: str
    object: Literal["fine_tuning.job.checkpoint"]
    created_at: int
    fine_tuning_job_id: str
    fine_tuned_model_checkpoint: str
    step_number: int
    metrics: dict[str, float]


class FineTuningCheckpointList(BaseModel):
    """A page of checkpoints, the latest first."""

    object: Literal["list"]
    data: list[FineTuningCheckpoint]
    first_id: str | None
    last_id: str | None
    has_more: bool
