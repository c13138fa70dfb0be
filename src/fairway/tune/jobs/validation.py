"""What `fairway tune --check` found, as the verdict on a job's files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from fairway.tune.jobs.job import JobError

SHOWN = 3
OBJECTIVES = {"supervised": ("chat", "text"), "dpo": ("preference",)}
"""Rows that each method learns from."""
PARAMS = ("training_file", "validation_file")


@dataclass(frozen=True)
class Verdict:
    """`error` None: the files can be learned from."""

    error: JobError | None
    num_examples: int = 0
    warnings: tuple[str, ...] = ()


def verdict_of(answer: bytes, words: str, method: str) -> Verdict:
    """`answer`: what the check wrote as JSON, empty where it ended with an error, which `words` tells."""
    try:
        files: list[dict[str, Any]] = json.loads(answer)["files"]
    except (ValueError, KeyError, TypeError):
        reason = words or "The check of the files was ended from outside."
        return Verdict(JobError("invalid_training_file", reason, PARAMS[0]))
    for param, file in zip(PARAMS, files, strict=False):
        if file["objective"] not in OBJECTIVES[method]:
            needed = " or ".join(OBJECTIVES[method])
            message = f"The file holds {file['shape']}, and the method {method} learns from {needed} rows."
            return Verdict(JobError(f"invalid_{param}", message, param))
        if file["num_errors"]:
            return Verdict(JobError(f"invalid_{param}", _errors(file), param))
    warnings = [_told(each) for file in files for each in file["findings"] if each["level"] == "warning"]
    return Verdict(None, files[0]["num_examples"], tuple(warnings))


def _errors(file: dict[str, Any]) -> str:
    found = [each for each in file["findings"] if each["level"] == "error"]
    more = f" {len(found) - SHOWN} more kinds of errors." if len(found) > SHOWN else ""
    return " ".join(map(_told, found[:SHOWN])) + more


def _told(group: dict[str, Any]) -> str:
    """ "2 rows: not valid JSON (train.jsonl line 3: ...)." """
    count = f"{group['count']:,} row{'s' * (group['count'] != 1)}"
    first = group["first"][0]
    where = first["place"] + (f": {first['message']}" if first["message"] else "")
    return f"{count}: {group['title']} ({where})."
