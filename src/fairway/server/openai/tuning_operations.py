"""Files and fine-tuning in the OpenAI dialect, as a table of operations."""

from __future__ import annotations

from fairway.server.openai.file_schema import Deleted, FileAnswer, FileList, ListFilesQuery, UploadForm
from fairway.server.openai.files import delete_file, file_content, list_files, show_file, upload_file
from fairway.server.openai.fine_tuning import (
    cancel_fine_tuning_job,
    create_fine_tuning_job,
    delete_model,
    list_fine_tuning_checkpoints,
    list_fine_tuning_events,
    list_fine_tuning_jobs,
    pause_fine_tuning_job,
    resume_fine_tuning_job,
    show_fine_tuning_job,
)
from fairway.server.openai.fine_tuning_schema import (
    CreateJobRequest,
    FineTuningCheckpointList,
    FineTuningEventList,
    FineTuningJobAnswer,
    FineTuningJobList,
    ListJobsQuery,
    ListPartsQuery,
)
from fairway.server.operation import Operation

JOBS = "/v1/fine_tuning/jobs"
JOB = f"{JOBS}/{{fine_tuning_job_id}}"
# Another server may have the folder of the jobs.
JOB_ERRORS = (403, 404, 503)

OPERATIONS = (
    Operation(
        "DELETE",
        "/v1/models/{model:path}",
        "Models",
        delete_model,
        answer=Deleted,
        errors=(403, 404, 503),
    ),
    Operation(
        "POST",
        "/v1/files",
        "Files",
        upload_file,
        form=UploadForm,
        answer=FileAnswer,
        errors=(400, 403, 408, 413, 415, 507),
    ),
    Operation(
        "GET", "/v1/files", "Files", list_files, query=ListFilesQuery, answer=FileList, errors=(400, 403)
    ),
    Operation("GET", "/v1/files/{file_id}", "Files", show_file, answer=FileAnswer, errors=(403, 404)),
    Operation(
        "GET",
        "/v1/files/{file_id}/content",
        "Files",
        file_content,
        media_type="application/octet-stream",
        errors=(403, 404),
    ),
    Operation("DELETE", "/v1/files/{file_id}", "Files", delete_file, answer=Deleted, errors=(403, 404)),
    Operation(
        "POST",
        JOBS,
        "Fine-tuning",
        create_fine_tuning_job,
        body=CreateJobRequest,
        answer=FineTuningJobAnswer,
        errors=(400, 403, 404, 408, 413, 415, 501, 503),
    ),
    Operation(
        "GET",
        JOBS,
        "Fine-tuning",
        list_fine_tuning_jobs,
        query=ListJobsQuery,
        answer=FineTuningJobList,
        errors=(400, *JOB_ERRORS),
    ),
    Operation("GET", JOB, "Fine-tuning", show_fine_tuning_job, answer=FineTuningJobAnswer, errors=JOB_ERRORS),
    *(
        Operation(
            "POST",
            f"{JOB}/{verb}",
            "Fine-tuning",
            handler,
            answer=FineTuningJobAnswer,
            errors=(400, *JOB_ERRORS),
        )
        for verb, handler in (
            ("cancel", cancel_fine_tuning_job),
            ("pause", pause_fine_tuning_job),
            ("resume", resume_fine_tuning_job),
        )
    ),
    Operation(
        "GET",
        f"{JOB}/events",
        "Fine-tuning",
        list_fine_tuning_events,
        query=ListPartsQuery,
        answer=FineTuningEventList,
        errors=(400, *JOB_ERRORS),
    ),
    Operation(
        "GET",
        f"{JOB}/checkpoints",
        "Fine-tuning",
        list_fine_tuning_checkpoints,
        query=ListPartsQuery,
        answer=FineTuningCheckpointList,
        errors=(400, *JOB_ERRORS),
    ),
)
