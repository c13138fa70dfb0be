"""Jobs on disk.

    FOLDER/ftjob-ID/job.json       the job, replaced as a whole
    FOLDER/ftjob-ID/events.jsonl   a line per event
    FOLDER/ftjob-ID/training/NAME, validation/NAME   its data, which outlives the uploaded files
    FOLDER/ftjob-ID/run/           the run folder of `fairway tune`

The rule: whatever is killed when, a job is there with its last status.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from dataclasses import asdict
from pathlib import Path

from fairway.errors import FairwayError
from fairway.formats.atomic import atomic_file
from fairway.formats.json_text import read_object
from fairway.tune.jobs.job import Event, TuningJob, job_from_dict
from fairway.tune.jobs.names import is_id

JOB, EVENTS, RUN = "job.json", "events.jsonl", "run"
TRAINING, VALIDATION = "training", "validation"
log = logging.getLogger("fairway.tune")


class JobStore:
    """The jobs of one folder. One thread writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, job: TuningJob) -> Path:
        """The job's own folder."""
        return self.folder / job.id

    def run_folder(self, job: TuningJob) -> Path:
        return self.place(job) / RUN

    def create(self, job: TuningJob, training: Path, validation: Path | None) -> None:
        """The folder with its data; `job.json` last, for it says that a job is there."""
        place = self.place(job)
        place.mkdir(parents=True)
        _own(training, place / TRAINING)
        if validation is not None:
            _own(validation, place / VALIDATION)
        self.save(job)

    def save(self, job: TuningJob) -> None:
        with atomic_file(self.place(job) / JOB) as file:
            file.write(json.dumps(job.to_dict(), ensure_ascii=False).encode("utf-8"))

    def all(self) -> list[TuningJob]:
        """Oldest first; what cannot be read is left out and logged."""
        names = [each.name for each in self.folder.iterdir()] if self.folder.is_dir() else []
        found = [job for name in names if is_id(name) and (job := self._read(name)) is not None]
        return sorted(found, key=lambda each: (each.created_s, each.id))

    def data(self, job: TuningJob) -> tuple[Path, Path | None]:
        """What to learn, and what to measure with."""
        training, validation = self.place(job) / TRAINING, self.place(job) / VALIDATION
        held_out = next(validation.iterdir()) if validation.is_dir() else None
        return next(training.iterdir()), held_out

    def add_events(self, job: TuningJob, events: list[Event]) -> None:
        lines = "".join(json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in events)
        with (self.place(job) / EVENTS).open("a", encoding="utf-8") as file:
            file.write(lines)

    def events(self, job: TuningJob) -> list[Event]:
        """Oldest first. A line that a kill cut is left out."""
        path = self.place(job) / EVENTS
        lines = path.read_text("utf-8", "replace").splitlines() if path.is_file() else []
        return [event for line in lines if (event := _event(line)) is not None]

    def _read(self, name: str) -> TuningJob | None:
        path = self.folder / name / JOB
        if not path.is_file():
            return None  # killed while it was created
        try:
            return job_from_dict(read_object(path))
        except (OSError, FairwayError, TypeError, KeyError) as error:
            log.warning("%s is left out: it is no job of this version (%s).", path, error)
            return None


def _own(path: Path, folder: Path) -> None:
    """The same bytes under the same name; a second name for them where the disk can do that."""
    folder.mkdir()
    try:
        os.link(path, folder / path.name)
    except OSError:
        shutil.copyfile(path, folder / path.name)


def _event(line: str) -> Event | None:
    try:
        return Event(**json.loads(line))
    except (ValueError, TypeError):
        return None
