"""What /v1/files takes and answers."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

HOUR_S, MONTH_S = 3600, 2_592_000
Purpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]


class UploadFields(BaseModel):
    """What is said of an uploaded file."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    purpose: Purpose = Field(description="What it is for; fine-tune files are looked into at once.")
    expires_anchor: Literal["created_at"] | None = Field(None, alias="expires_after[anchor]")
    expires_s: int | None = Field(
        None,
        alias="expires_after[seconds]",
        ge=HOUR_S,
        le=MONTH_S,
        description="Seconds after which it is deleted; unset: never.",
    )


class UploadForm(UploadFields):
    """A file to keep."""

    file: bytes = Field(description="The bytes, with a file name.", json_schema_extra={"format": "binary"})


class ListFilesQuery(BaseModel):
    """Which files."""

    model_config = ConfigDict(extra="allow")

    purpose: str | None = Field(None, description="Only those for it.")
    limit: int = Field(10_000, ge=1, le=10_000, description="Most that are listed.")
    order: Literal["asc", "desc"] = Field("desc", description="By the time they came.")
    after: str | None = Field(None, description="Those that follow the file of this id.")


class FileAnswer(BaseModel):
    """A file that is kept."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: str
    status: Literal["processed"]
    status_details: str | None


class FileList(BaseModel):
    """A page of files."""

    object: Literal["list"]
    data: list[FileAnswer]
    first_id: str | None
    last_id: str | None
    has_more: bool


class Deleted(BaseModel):
    """Something is gone."""

    id: str
    object: str
    deleted: bool
