"""Fine-tuning as the server knows it: its folder, its files, its queue, and where results answer."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from fairway.errors import UnsupportedError
from fairway.runtimes.adapted import AdaptedRuntime
from fairway.server.errors import TuningRefused
from fairway.server.model_table import ModelTable
from fairway.server.settings import ServerSettings
from fairway.tune.jobs.files import FileStore
from fairway.tune.jobs.hyperparameters import check_recipe
from fairway.tune.jobs.job import Base
from fairway.tune.jobs.job_store import JobStore
from fairway.tune.jobs.ledger import Ledger
from fairway.tune.jobs.queue import JobQueue, QueueSettings
from fairway.tune.recipe import read_recipe

T = TypeVar("T")


class TunedModels:
    """Results as adapters of the models that are served."""

    def __init__(self, models: ModelTable) -> None:
        self._models = models

    def base(self, name: str) -> Base:
        """The model that a client wants to train. Raises `ModelNotFound`, `UnsupportedError`."""
        name, runtime = self._models.find(name)
        if isinstance(runtime, AdaptedRuntime):
            raise UnsupportedError(
                f"{name} is an adapter, and training begins with a base model.",
                hint=f"Train {runtime.base_name} on all examples.",
                param="model",
            )
        if runtime.adapters is None:
            raise UnsupportedError(
                f"The model {name} takes no adapters, so that a result could not be served.",
                hint="Start the server with --max-loras above 0.",
                param="model",
            )
        info = runtime.info
        return Base(name, info.path, info.architecture, info.num_parameters)

    def serve(self, name: str, adapter: Path, base: Base) -> None:
        """On the model of the same path; else on that of the same name, architecture and size."""
        self._models.load_adapter(name, adapter, self._served(base))

    def withdraw(self, name: str) -> None:
        if any(adapter.name == name for _, adapter in self._models.adapters()):
            self._models.unload_adapter(name)

    def _served(self, base: Base) -> str:
        for name, runtime in self._models.items():
            if runtime.info.path == base.path:
                return name
        known = self._models.get(base.name)
        alike = known is not None and (base.architecture, base.num_parameters) == (
            known.info.architecture,
            known.info.num_parameters,
        )
        if not alike:
            raise UnsupportedError(f"its base {base.name} is not served here.")
        return base.name


class Tuning:
    """Everything behind /v1/files and /v1/fine_tuning. The server starts and closes it."""

    def __init__(self, models: ModelTable, settings: ServerSettings) -> None:
        folder = settings.state_path
        recipe = None if settings.fine_tuning_recipe is None else Path(settings.fine_tuning_recipe)
        self.recipe = check_recipe(read_recipe(recipe, {}))
        """What a client does not say."""
        queue = QueueSettings(self.recipe, settings.fine_tuning_niceness)
        self.is_allowed = settings.fine_tuning
        self.models = TunedModels(models)
        self._files = FileStore(
            folder / "files",
            max_file_bytes=settings.max_upload_bytes,
            max_total_bytes=settings.max_files_bytes,
        )
        self.store = JobStore(folder / "jobs")
        self.jobs = JobQueue(self.store, self._files, self.models, queue)

    @property
    def files(self) -> FileStore:
        """Raises `TuningRefused` where this server takes none."""
        self._refuse()
        return self._files

    def call(self, work: Callable[[Ledger], T]) -> Future[T]:
        """On the thread that owns the jobs."""
        self._refuse()
        return self.jobs.call(work)

    def start(self) -> None:
        if self.is_allowed:
            self.jobs.start()

    def close(self) -> None:
        """Ends in seconds; what trains goes on with the next server."""
        self.jobs.close()

    def _refuse(self) -> None:
        if not self.is_allowed:
            raise TuningRefused(
                "This server takes no files and trains no models.",
                hint="Start it without --no-fine-tuning.",
            )
