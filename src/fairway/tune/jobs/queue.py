"""The queue: jobs are checked and trained one at a time, in processes of their own, while serving goes on.

One thread owns the ledger and the processes; others send it a function and wait for what that returns. Of
several servers with one folder, the first that takes its lock runs the jobs.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from fairway.errors import Busy, FairwayError, ModelNotFound
from fairway.formats.atomic import atomic_file
from fairway.tune.jobs.files import FileStore, Kind
from fairway.tune.jobs.hyperparameters import recipe_for_check, recipe_of, resolved
from fairway.tune.jobs.job import Asked, Base, JobError, TuningJob
from fairway.tune.jobs.job_store import JobStore
from fairway.tune.jobs.ledger import Ledger, step_event
from fairway.tune.jobs.overview import Overview, overview_of
from fairway.tune.jobs.process import TAKEN, Process, take
from fairway.tune.jobs.results import delete_model, forget_early_epochs, models_of
from fairway.tune.jobs.run_figures import all_figures, is_finished, result_csv
from fairway.tune.jobs.training import Training, check_command
from fairway.tune.jobs.validation import verdict_of
from fairway.tune.recipe import FILE_NAME, Recipe

POLL_S = 0.05
STOP_S = 15.0
"""What a training process gets to finish its update when the server ends. It loses no more than that."""
OWNER = "owner.lock"
RESULTS = "fine-tune-results"
log = logging.getLogger("fairway.tune")
T = TypeVar("T")


class Models(Protocol):
    """Where results answer. Called on the queue's thread."""

    def serve(self, name: str, adapter: Path, base: Base) -> None:
        """Requests may name it once this returns. Raises a `FairwayError` where that is not possible."""
        ...

    def withdraw(self, name: str) -> None:
        """No request may name it any more; nothing where none could."""
        ...


@dataclass(frozen=True)
class QueueSettings:
    """How jobs are run."""

    recipe: Recipe
    """What a client does not say."""
    niceness: int


class JobQueue:
    """The jobs of one folder. `start` before, `close` after; the rest is safe from any thread."""

    def __init__(self, store: JobStore, files: FileStore, models: Models, settings: QueueSettings) -> None:
        self._store, self._files, self._models, self._settings = store, files, models, settings
        self._inbox: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="fairway-jobs", daemon=True)
        self._ledger: Ledger | None = None
        self._owner: int | None = None
        self._checking: tuple[str, Process] | None = None
        self._training: Training | None = None
        self._ending: list[Process] = []
        """What has done its work and still cleans up behind itself."""
        self.overview = Overview()
        """Of now; replaced as a whole, for any thread to read."""

    def start(self) -> None:
        """Serves what earlier jobs made, and goes on with those that are not over."""
        if self._store.folder.is_dir():
            self._serve_results()
            self._take_ownership()
        self._look()
        self._thread.start()

    def call(self, work: Callable[[Ledger], T]) -> Future[T]:
        """Runs `work` on the thread that owns the jobs. Raises `Busy` where another server has them."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(work(self._own_ledger()))
            except BaseException as error:  # noqa: BLE001  handed to whoever waits
                future.set_exception(error)

        self._inbox.put(run)
        return future

    def create(self, ledger: Ledger, asked: Asked) -> TuningJob:
        """For `call`."""
        return ledger.create(asked, self._files)

    def cancel(self, ledger: Ledger, job_id: str) -> TuningJob:
        """For `call`. Its run folder keeps the last checkpoint."""
        job = ledger.cancel(job_id)
        self._stop(job_id)
        return job

    def pause(self, ledger: Ledger, job_id: str) -> TuningJob:
        """For `call`. The next job begins when this one has written its checkpoint."""
        job = ledger.pause(job_id)
        self._stop(job_id)
        return job

    def delete_model(self, ledger: Ledger, name: str) -> None:
        """For `call`. Raises `ModelNotFound`."""
        for job in ledger.all():
            for each, path in models_of(self._store, job):
                if each == name:
                    self._models.withdraw(name)
                    delete_model(path)
                    return
        raise ModelNotFound(f"There is no fine-tuned model {name[:80]!r} here.", param="model")

    def close(self) -> None:
        """Training is asked to write a checkpoint and goes on when the next server begins."""
        if self._thread.is_alive():
            self._inbox.put(None)
            self._thread.join()
        if self._owner is not None:
            os.close(self._owner)
            self._owner = None

    def _run(self) -> None:
        while True:
            self._ending = [each for each in self._ending if each.is_running()]
            is_idle = self._checking is None and self._training is None and not self._ending
            try:
                work = self._inbox.get(timeout=None if is_idle and not self._has_work() else POLL_S)
            except queue.Empty:
                pass
            else:
                if work is None:
                    break
                work()
            if self._ledger is not None:
                self._guarded(self._step_check)
                self._guarded(self._step_training)
            self._look()
        self._stop_all()

    def _look(self) -> None:
        if self._ledger is not None:
            training = self._training
            in_training = None if training is None else training.seen(self._ledger.find(training.job_id))
            self.overview = overview_of(self._ledger.all(), in_training)

    def _has_work(self) -> bool:
        ledger = self._ledger
        return ledger is not None and ledger.first("validating_files", "running", "queued") is not None

    def _guarded(self, step: Callable[[Ledger], None]) -> None:
        """A disk that is full or a file that is gone costs a job, not the queue."""
        assert self._ledger is not None
        try:
            step(self._ledger)
        except Exception:
            log.exception("The queue of fine-tuning jobs met an error.")
            time.sleep(1.0)

    def _take_ownership(self) -> bool:
        if self._owner is None:
            self._store.folder.mkdir(parents=True, exist_ok=True)
            self._owner = take(self._store.folder / OWNER)
            if self._owner is not None:
                self._ledger = Ledger(self._store)
        return self._owner is not None

    def _own_ledger(self) -> Ledger:
        if not self._take_ownership():
            raise Busy(
                f"Another server runs the fine-tuning jobs in {self._store.folder}.",
                hint="Stop it, or give this one a folder of its own with --state-folder.",
            )
        assert self._ledger is not None
        return self._ledger

    def _serve_results(self) -> None:
        """The latest first, so that they are there where not all of them fit."""
        for job in reversed(self._store.all()):
            self._serve(job)

    def _serve(self, job: TuningJob) -> list[str]:
        """What could not be served, in sentences."""
        found = []
        for name, adapter in models_of(self._store, job):
            try:
                self._models.serve(name, adapter, job.asked.base)
            except (FairwayError, OSError) as error:
                found.append(f"{name} is not served: {error}")
                log.warning("%s", found[-1])
        return found

    def _step_check(self, ledger: Ledger) -> None:
        if self._checking is None:
            job = ledger.first("validating_files")
            if job is not None:
                self._begin_check(ledger, job)
            return
        job_id, process = self._checking
        if not process.is_running():
            self._checking = None
            job = ledger.find(job_id)
            if job.status == "validating_files":
                self._judge(ledger, job, process)

    def _begin_check(self, ledger: Ledger, job: TuningJob) -> None:
        place = self._store.place(job)
        process = Process(place / "check.lock", place / "check.txt")
        if process.is_running():
            return  # begun by a server that was killed; it ends by itself
        try:
            self._write_recipe(job, recipe_for_check(job.asked, self._settings.recipe))
            process.start(check_command(self._store, job), self._settings.niceness)
        except OSError as error:
            ledger.fail(job, _not_begun(error))
        else:
            self._checking = (job.id, process)

    def _judge(self, ledger: Ledger, job: TuningJob, process: Process) -> None:
        verdict = verdict_of(process.answer.read_bytes(), process.last_words(), job.asked.method)
        if verdict.error is not None:
            ledger.fail(job, verdict.error)
            return
        for warning in verdict.warnings:
            ledger.tell(job, warning, level="warn")
        used = resolved(job.asked.hyperparameters, verdict.num_examples, self._settings.recipe)
        recipe = recipe_of(job.asked, used, verdict.num_examples, self._settings.recipe)
        self._write_recipe(job, recipe)
        job = ledger.change(job, status="queued", hyperparameters=used, num_examples=verdict.num_examples)
        ledger.tell(job, "Files validated, moving job to queued state")

    def _write_recipe(self, job: TuningJob, recipe: Recipe) -> None:
        with atomic_file(self._store.place(job) / FILE_NAME) as file:
            file.write(recipe.to_toml().encode("utf-8"))

    def _step_training(self, ledger: Ledger) -> None:
        if self._training is None:
            job = ledger.first("running", "queued")
            if job is not None:
                self._begin(ledger, job)
            return
        job = ledger.find(self._training.job_id)
        is_over = self._training.is_finished() or not self._training.process.is_running()
        figures = self._training.new_figures()
        if figures:
            ledger.tell_all(job, [step_event(each) for each in figures])
            if job.status == "running":
                left = self._training.seconds_left(figures[-1])
                ledger.estimate(job, estimated_finish_s=int(time.time() + left))
        if is_over:
            self._ended(ledger, job, self._training)

    def _begin(self, ledger: Ledger, job: TuningJob) -> None:
        if is_finished(self._store.run_folder(job)):
            self._succeed(ledger, job)
            return
        message = "Fine-tuning job started" if job.begun_s is None else "Fine-tuning job goes on"
        job = ledger.change(job, status="running", begun_s=job.begun_s or int(time.time()))
        try:
            self._training = Training(self._store, job, self._settings.niceness)
        except OSError as error:
            ledger.fail(job, _not_begun(error))
        else:
            ledger.tell(job, message)

    def _ended(self, ledger: Ledger, job: TuningJob, training: Training) -> None:
        self._training = None
        self._ending.append(training.process)
        if training.is_finished() and job.status != "cancelled":
            self._succeed(ledger, job)
        elif job.status == "running" and not _may_go_on(training):
            ledger.fail(job, _failure(training))

    def _succeed(self, ledger: Ledger, job: TuningJob) -> None:
        """The model answers before the job says that it succeeded."""
        run = self._store.run_folder(job)
        forget_early_epochs(run)
        figures = all_figures(run)
        result = self._files.add(result_csv(figures), Kind("step_metrics.csv", RESULTS))
        done = ledger.estimate(job, status="succeeded", error=None)
        for sentence in self._serve(done):
            ledger.tell(job, sentence, level="warn")
        ledger.tell(job, f"New fine-tuned model created: {job.model_name}")
        ledger.change(
            job,
            fine_tuned_model=job.model_name,
            finished_s=int(time.time()),
            estimated_finish_s=None,
            trained_tokens=sum(each["num_tokens"] for each in figures),
            result_files=(result.id,),
        )
        ledger.tell(job, "The job has successfully completed")

    def _stop(self, job_id: str) -> None:
        if self._training is not None and self._training.job_id == job_id:
            self._training.process.ask_to_stop()
        if self._checking is not None and self._checking[0] == job_id:
            self._checking[1].kill()

    def _stop_all(self) -> None:
        for process in self._ending:
            process.wait(STOP_S)
        if self._checking is not None:
            self._checking[1].kill()
            self._checking[1].wait(STOP_S)
        if self._training is not None:
            self._training.process.ask_to_stop()
            if not self._training.process.wait(STOP_S):
                self._training.process.kill()
                self._training.process.wait(STOP_S)


def _not_begun(error: OSError) -> JobError:
    where = f"{error.filename}: " if error.filename else ""
    return JobError("server_error", f"The job's process could not be begun ({where}{error.strerror}).")


def _may_go_on(training: Training) -> bool:
    """Ended from outside, after an update: it begins again at its last checkpoint."""
    code = training.process.exit_code
    return code in (None, TAKEN) or (code < 0 and training.progressed)


def _failure(training: Training) -> JobError:
    code = training.process.exit_code
    if code is not None and code < 0:
        hint = "The system may have been out of memory." if code == -9 else ""
        return JobError("server_error", f"Training was ended by signal {-code}. {hint}".strip())
    return JobError("server_error", training.process.last_words() or f"Training ended with {code}.")
