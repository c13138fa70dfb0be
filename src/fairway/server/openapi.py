"""The OpenAPI 3.1 document, made from the table of operations and the pydantic models.

OpenAPI 3.1 uses JSON Schema 2020-12 as it is, which is what pydantic writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

import fairway
from fairway.server.openai.answer_schema import ErrorAnswer
from fairway.server.operation import Operation

REF = "#/components/schemas/{model}"
DESCRIPTION = "Chat and text completions in OpenAI's dialect, served by Fairway."
PATH_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")


def openapi_document(operations: Sequence[Operation], *, has_keys: bool) -> dict[str, Any]:
    """The whole document. With keys, every operation but the open ones asks for one."""
    schemas = _schemas(operations)
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "Fairway", "version": fairway.__version__, "description": DESCRIPTION},
        "paths": {},
        "components": {"schemas": schemas["$defs"]},
    }
    for operation in operations:
        path = PATH_PARAMETER.sub(r"{\1}", operation.path)
        document["paths"].setdefault(path, {})[operation.method.lower()] = _operation(operation, has_keys)
    if has_keys:
        document["components"]["securitySchemes"] = {
            "bearer": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        }
    return document


def _schemas(operations: Iterable[Operation]) -> dict[str, Any]:
    models: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(ErrorAnswer, "serialization"): None}
    for each in operations:
        if each.body is not None:
            models[each.body, "validation"] = None
        for asked in (each.form, each.query):
            if asked is not None:
                models[asked, "validation"] = None
        for answer in (each.answer, each.event):
            if answer is not None:
                models[answer, "serialization"] = None
    _, schemas = models_json_schema(list(models), ref_template=REF)
    return schemas


def _operation(operation: Operation, has_keys: bool) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.operation_id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "responses": _responses(operation, has_keys),
    }
    if names := PATH_PARAMETER.findall(operation.path):
        described["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    if operation.query is not None:
        described.setdefault("parameters", []).extend(_query(operation.query))
    if operation.form is not None:
        content = {"multipart/form-data": {"schema": _reference(operation.form)}}
        described["requestBody"] = {"required": True, "content": content}
    if operation.body is not None:
        content = {"application/json": {"schema": _reference(operation.body)}}
        described["requestBody"] = {"required": True, "content": content}
    if has_keys and operation.needs_key:
        described["security"] = [{"bearer": []}, {"header": []}]
    return described


def _query(model: type[BaseModel]) -> list[dict[str, Any]]:
    schema = model.model_json_schema(ref_template=REF)
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": each}
        for name, each in schema["properties"].items()
    ]


def _responses(operation: Operation, has_keys: bool) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if operation.answer is None:
        content[operation.media_type] = {"schema": {"type": "string"}}
    else:
        content["application/json"] = {"schema": _reference(operation.answer)}
    if operation.event is not None:
        content["text/event-stream"] = {"schema": _reference(operation.event)}
    responses: dict[str, Any] = {"200": {"description": "OK", "content": content}}
    statuses = {*operation.errors, 403, *((401,) if has_keys and operation.needs_key else ())}
    for status in sorted(statuses):
        responses[str(status)] = _error(status)
    return responses


def _error(status: int) -> dict[str, Any]:
    content = {"application/json": {"schema": _reference(ErrorAnswer)}}
    return {"description": HTTPStatus(status).phrase, "content": content}


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REF.format(model=model.__name__)}
