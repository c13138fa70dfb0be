"""A run's folder: recipe as run, what it was made from, a line of figures per update, and the result.

    recipe.toml  run.json  metrics.jsonl  completions.jsonl  loss.svg
    checkpoints/  epochs/  adapter/ or model/

The rule: what is there suffices to run it again, and a folder holds one run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fairway.errors import UsageError
from fairway.formats.atomic import atomic_file
from fairway.formats.json_text import read_object
from fairway.tune.checkpoints import Checkpoints
from fairway.tune.recipe import FILE_NAME, Recipe, read_recipe

FACTS, METRICS, SAMPLES = "run.json", "metrics.jsonl", "completions.jsonl"
ADAPTER, MODEL, EPOCHS = "adapter", "model", "epochs"
PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class Facts:
    """What a run is made from."""

    model: str
    model_digest: str
    data: str
    data_digest: str
    held_out: str | None
    held_out_digest: str | None
    num_rows: int
    num_examples: int
    num_tokens: int
    also: Mapping[str, str] = field(default_factory=dict)
    """What else it is made from, like a teacher: name -> digest."""


class RunFolder:
    """One run on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = Checkpoints(path)

    @property
    def is_there(self) -> bool:
        return (self.path / FACTS).is_file()

    def check_empty(self) -> None:
        """Raises `UsageError` where a run is there already."""
        if self.path.exists() and (not self.path.is_dir() or any(map(_is_of_a_run, self.path.iterdir()))):
            hint = "Add --resume to go on with it, or name another folder." if self.is_there else None
            raise UsageError(f"{self.path} is not empty.", hint=hint or "Name another folder.")

    def begin(self, recipe: Recipe, facts: Facts) -> None:
        """Writes down what is trained how; `run.json` last, for it says that a run is there."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._write(FILE_NAME, recipe.to_toml())
        self._write(FACTS, json.dumps(asdict(facts), indent=1, ensure_ascii=False) + "\n")

    def recipe(self) -> Recipe:
        """The one that this run was begun with. Raises `UsageError` where none was."""
        if not self.is_there:
            raise UsageError(
                f"{self.path} holds no run to go on with.", hint="Leave --resume out to begin one."
            )
        if read_object(self.path / FACTS).get("finished"):
            raise UsageError(
                f"The run in {self.path} is finished.", hint="Name another folder to train again."
            )
        return read_recipe(self.path / FILE_NAME, {})

    def finish(self) -> None:
        """The result is there; checkpoints go."""
        facts = read_object(self.path / FACTS) | {"finished": True}
        self._write(FACTS, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
        self.checkpoints.clear()

    def check(self, facts: Facts) -> None:
        """Raises `UsageError` where model or data are not those of the run."""
        begun = read_object(self.path / FACTS)
        for name in ("model", "data", "held_out"):
            if begun.get(f"{name}_digest") != asdict(facts)[f"{name}_digest"]:
                raise UsageError(
                    f"{self.path} was begun with another {name}, or {begun.get(name)} has changed since.",
                    hint="Name the same model and files, or begin another run.",
                )
        for name in facts.also:
            if begun.get("also", {}).get(name) != facts.also[name]:
                raise UsageError(
                    f"{name} has changed since {self.path} was begun.", hint="Begin another run."
                )

    def keep_until(self, step: int) -> list[dict[str, Any]]:
        """Drops figures of updates after a checkpoint, which come again; those that stay."""
        if (self.path / SAMPLES).is_file():
            self._keep_until(SAMPLES, step)
        return [json.loads(line) for line in self._keep_until(METRICS, step)]

    def _keep_until(self, name: str, step: int) -> list[str]:
        path = self.path / name
        lines = path.read_text("utf-8").splitlines() if path.is_file() else []
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
        self._write(name, "".join(f"{line}\n" for line in kept))
        return kept

    def add(self, values: Mapping[str, Any], name: str = METRICS) -> None:
        """A line of figures, or of what the model wrote."""
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def _write(self, name: str, text: str) -> None:
        with atomic_file(self.path / name) as file:
            file.write(text.encode("utf-8"))


def _is_of_a_run(path: Path) -> bool:
    """Whether it is more than what a kill within `begin` leaves."""
    return path.name != FILE_NAME and not path.name.endswith(".part")


def file_digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
    return f"sha256:{digest.hexdigest()}"
