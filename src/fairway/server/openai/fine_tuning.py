"""/v1/fine_tuning/jobs: training on this machine, as OpenAI has it on theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from fairway.errors import RequestError
from fairway.server.errors import DeletionRefused
from fairway.server.json_response import JsonResponse
from fairway.server.openai.field_policy import check_unknown_fields
from fairway.server.openai.files import list_answer
from fairway.server.openai.fine_tuning_answers import checkpoint_answer, event_answer, job_answer
from fairway.server.openai.fine_tuning_schema import CreateJobRequest, ListJobsQuery, ListPartsQuery
from fairway.server.services import Services
from fairway.tune.jobs.errors import FileMissing, InvalidFile
from fairway.tune.jobs.job import Asked, Base, Hyperparameters
from fairway.tune.jobs.ledger import Ledger
from fairway.tune.jobs.names import page
from fairway.tune.jobs.results import checkpoints_of
from fairway.tune.torch_extra import require_torch

T = TypeVar("T")
METADATA = "metadata"


async def create_fine_tuning_job(services: Services, request: Request, body: CreateJobRequest) -> Response:  # noqa: ARG001
    """Trains a served model on an uploaded file."""
    check_unknown_fields(body)
    tuning = services.tuning
    _check_files(services, body)
    asked = _asked(body, tuning.models.base(body.model), tuning.recipe.seed)
    require_torch()
    services.drain.refuse_if_stopping()
    job = await _on_queue(services, lambda ledger: tuning.jobs.create(ledger, asked))
    return JsonResponse(job_answer(job))


async def list_fine_tuning_jobs(services: Services, request: Request, body: ListJobsQuery) -> Response:
    """Every fine-tuning job, the newest first."""
    wanted = _metadata_filter(request)
    jobs = await _on_queue(services, lambda ledger: ledger.all())
    chosen = [each for each in reversed(jobs) if wanted.items() <= (each.asked.metadata or {}).items()]
    piece = page(chosen, body.after, body.limit)
    return JsonResponse(list_answer([job_answer(each) for each in piece.items], has_more=piece.has_more))


async def show_fine_tuning_job(services: Services, request: Request, body: None) -> Response:  # noqa: ARG001
    """One fine-tuning job."""
    job_id = request.path_params["fine_tuning_job_id"]
    return JsonResponse(job_answer(await _on_queue(services, lambda ledger: ledger.find(job_id))))


async def cancel_fine_tuning_job(services: Services, request: Request, body: None) -> Response:  # noqa: ARG001
    """Ends a job before it is done."""
    job_id, jobs = request.path_params["fine_tuning_job_id"], services.tuning.jobs
    return JsonResponse(job_answer(await _on_queue(services, lambda ledger: jobs.cancel(ledger, job_id))))


async def pause_fine_tuning_job(services: Services, request: Request, body: None) -> Response:  # noqa: ARG001
    """Lets a job write a checkpoint and wait."""
    job_id, jobs = request.path_params["fine_tuning_job_id"], services.tuning.jobs
    return JsonResponse(job_answer(await _on_queue(services, lambda ledger: jobs.pause(ledger, job_id))))


async def resume_fine_tuning_job(services: Services, request: Request, body: None) -> Response:  # noqa: ARG001
    """Puts a paused job into the queue again."""
    job_id = request.path_params["fine_tuning_job_id"]
    return JsonResponse(job_answer(await _on_queue(services, lambda ledger: ledger.resume(job_id))))


async def list_fine_tuning_events(services: Services, request: Request, body: ListPartsQuery) -> Response:
    """What happened to a job, the newest first."""
    check_unknown_fields(body)
    job_id = request.path_params["fine_tuning_job_id"]
    events = await _on_queue(services, lambda ledger: ledger.store.events(ledger.find(job_id)))
    piece = page(events[::-1], body.after, body.limit)
    return JsonResponse(list_answer([event_answer(each) for each in piece.items], has_more=piece.has_more))


async def list_fine_tuning_checkpoints(
    services: Services, request: Request, body: ListPartsQuery
) -> Response:
    """The models of a job's last epochs, the latest first."""
    check_unknown_fields(body)
    job_id = request.path_params["fine_tuning_job_id"]
    found = await _on_queue(services, lambda ledger: checkpoints_of(ledger.store, ledger.find(job_id)))
    piece = page(found, body.after, body.limit)
    data = [checkpoint_answer(job_id, each) for each in piece.items]
    return JsonResponse(list_answer(data, has_more=piece.has_more))


async def delete_model(services: Services, request: Request, body: None) -> Response:  # noqa: ARG001
    """Deletes a fine-tuned model."""
    name, tuning = request.path_params["model"], services.tuning
    if name in services.models or not name.startswith("ft:"):
        services.models.find(name)
        raise DeletionRefused(
            f"{name} was not made by a fine-tuning job and is not deleted.",
            hint="An adapter is unloaded with /v1/unload_lora_adapter.",
            param="model",
        )
    await _on_queue(services, lambda ledger: tuning.jobs.delete_model(ledger, name))
    return JsonResponse({"id": name, "object": "model", "deleted": True})


async def _on_queue(services: Services, work: Callable[[Ledger], T]) -> T:
    return await asyncio.wrap_future(services.tuning.call(work))


def _check_files(services: Services, body: CreateJobRequest) -> None:
    for name in ("training_file", "validation_file"):
        file_id = getattr(body, name)
        if file_id is not None:
            try:
                services.tuning.files.find(file_id)
            except FileMissing as error:
                raise InvalidFile(error.message, hint="Upload it to /v1/files.", param=name) from None


def _asked(body: CreateJobRequest, base: Base, usual_seed: int) -> Asked:
    if body.integrations:
        raise RequestError(
            "This server reports to no other service.",
            hint="Leave integrations out: events and the result file hold all figures.",
            param="integrations",
        )
    method = "supervised" if body.method is None else body.method.type
    return Asked(
        base=base,
        training_file=body.training_file,
        validation_file=body.validation_file,
        method=method,
        hyperparameters=_hyperparameters(body),
        suffix=body.suffix,
        seed=usual_seed if body.seed is None else body.seed,
        metadata=dict(body.metadata) if body.metadata else None,
    )


def _hyperparameters(body: CreateJobRequest) -> Hyperparameters:
    """From the newer place or the older one. Raises `RequestError` where both are used."""
    method = body.method
    chosen = None if method is None else (method.supervised if method.type == "supervised" else method.dpo)
    other = None if method is None else (method.dpo if method.type == "supervised" else method.supervised)
    if other is not None:
        raise RequestError(f"method has the type {method.type} and settings of another.", param="method")  # type: ignore[union-attr]
    inner = None if chosen is None else chosen.hyperparameters
    if inner is not None and body.hyperparameters is not None:
        raise RequestError(
            "Hyperparameters are given twice.", hint="Say them in method.", param="hyperparameters"
        )
    found = inner or body.hyperparameters
    values: dict[str, Any] = {} if found is None else found.model_dump()
    if method is not None and method.type == "dpo":
        values.setdefault("beta", "auto")
    return Hyperparameters(**values)


def _metadata_filter(request: Request) -> dict[str, str]:
    """metadata[KEY]=VALUE; other names are unknown."""
    wanted = {}
    for name, value in request.query_params.items():
        if name.startswith(f"{METADATA}[") and name.endswith("]"):
            wanted[name[len(METADATA) + 1 : -1]] = value
        elif name not in ListJobsQuery.model_fields:
            raise RequestError(f"The field {name[:60]} is unknown.", hint="Leave it out.", param=name[:60])
    return wanted
