"""`fairway tune` when it trains: prepare, quote, run with a bar, publish, tell. Survives kills and Ctrl-C."""

from __future__ import annotations

import json
import platform
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.screen import Screen
from fairway.cli.tune_gate import publish_gated
from fairway.cli.tune_prepare import Prepared, prepare
from fairway.cli.tune_wanted import Wanted
from fairway.errors import UsageError
from fairway.registry.progress import Progress
from fairway.report.text_curve import TextCurve

if TYPE_CHECKING:
    from fairway.tune.job import Job
    from fairway.tune.lora_layers import LoraLayers
    from fairway.tune.prefix_tokens import PrefixTokens
    from fairway.tune.quote import Quote
    from fairway.tune.recipe import Recipe
    from fairway.tune.run_folder import Facts, RunFolder
    from fairway.tune.tracking import TrackedRun, Trackers
    from fairway.tune.trainer import Trainer, Update

PLACES = ("step", "num_steps")
KEPT = ("loss.svg", "run.json", "recipe.toml", "metrics.jsonl", "gate.json")
"""Files of a run's folder that trackers keep beside the result."""

GAINS_FROM_BFLOAT16 = 100_000_000
"""Parameters; the products of babyllama, a million, are too small to matter."""


def train(wanted: Wanted, screen: Screen) -> int:
    """Trains, or goes on with what was begun, and publishes the result."""
    from fairway.tune.torch_extra import require_torch
    from fairway.tune.tracking import check_trackers

    require_torch()
    if wanted.recipe is not None:
        check_trackers(wanted.recipe.report_to)
    from fairway.tune.out_of_disk import disk_told
    from fairway.tune.run_folder import RunFolder

    folder = RunFolder(wanted.out)
    with disk_told(folder):
        return _train(wanted, folder, screen)


def _train(wanted: Wanted, folder: RunFolder, screen: Screen) -> int:
    from fairway.map.probe import probe
    from fairway.tune.out_of_memory import memory_told
    from fairway.tune.prepare_job import prepare_job
    from fairway.tune.quote import check_memory
    from fairway.tune.tracking import Trackers
    from fairway.tune.trainer import Interrupted, Trainer

    recipe = folder.recipe() if wanted.recipe is None else wanted.recipe
    if wanted.recipe is not None:
        folder.check_empty()
    prepared = prepare(wanted, recipe, screen)
    recipe = prepared.recipe
    if recipe.backend == "trl":
        return _train_with_trl(wanted, prepared, folder, screen)
    check_memory(prepared.bundle, recipe, probe().memory_free_bytes, prepared.teacher)
    with screen.step("Read the weights") as progress:
        data = prepared.examples, prepared.held_out
        job, stored = prepare_job(prepared.bundle, recipe, data, progress, prepared.teacher)
    stop, figures = _Stop(), _Figures(folder)
    keep_epoch = _epoch_keeper(folder, prepared, job)

    def tell(update: Update) -> None:
        figures.tell(update)
        keep_epoch(update.step)

    trainer = Trainer(job, folder.checkpoints, tell, stop.asked)
    figures.shown = trainer.objective.shown
    if wanted.recipe is None:
        _restore(trainer, folder, prepared.facts, figures)
    else:
        _quote(trainer, wanted, screen)
        if wanted.dry_run:
            return 0
        folder.begin(recipe, prepared.facts)
    if not trainer.is_begun and trainer.objective.begins:
        with screen.step("Asked the model before training") as progress:
            trainer.begin(progress)
    trackers = Trackers(recipe.report_to, screen.note)
    trackers.begin(tracked(wanted.out, recipe, prepared.facts))
    figures.trackers = trackers
    try:
        with screen.step("Trained") as progress, stop.listening(screen), memory_told(trainer):
            figures.progress = progress
            tensors = trainer.run()
    except Interrupted as interrupted:
        trackers.finish([], completed=False)
        screen.note(f"{interrupted.message} Go on with: {_again(wanted)}")
        return interrupted.exit_code
    made = (job.lora or job.prefix, stored)
    publish = partial(_publish, prepared=prepared, tensors=tensors, made=made, screen=screen)
    gate = recipe.gate_settings
    path = publish(folder.path) if gate is None else publish_gated(folder.path, publish, wanted, gate, screen)
    figures.draw(trainer.progress.held_out)
    folder.finish()
    trackers.finish([path, *(wanted.out / name for name in KEPT)], completed=True)
    _tell(wanted, path, trainer, figures)
    return 0


def _train_with_trl(wanted: Wanted, prepared: Prepared, folder: RunFolder, screen: Screen) -> int:
    """From beginning to end, in TRL's trainer."""
    from fairway.tune.trl_backend import TrlRun, require_trl, train_with_trl

    require_trl()
    if wanted.dry_run or wanted.recipe is None:
        what = "--dry-run" if wanted.dry_run else "--resume"
        raise UsageError(f"{what} is not possible with --backend trl.", hint="Begin another run.")
    folder.begin(prepared.recipe, prepared.facts)
    figures = _Figures(folder)
    with screen.step("Trained with TRL") as progress:
        figures.progress = progress
        data = prepared.examples, prepared.held_out
        path = train_with_trl(TrlRun(prepared.bundle, prepared.recipe, *data, folder.path, figures.tell_trl))
    figures.draw([])
    folder.finish()
    click.echo(json.dumps({"result": str(path), "last": figures.lines[-1]}) if wanted.as_json else str(path))
    return 0


def tracked(folder: Path, recipe: Recipe, facts: Facts) -> TrackedRun:
    """What trackers are told at the beginning."""
    from fairway.tune.tracking import TrackedRun

    tags = {f"fairway.{name}": str(value) for name, value in asdict(facts).items() if value is not None}
    tags["fairway.recipe_digest"] = f"sha256:{sha256(recipe.to_toml().encode()).hexdigest()}"
    return TrackedRun(folder, asdict(recipe) | {"learning_rate": recipe.rate}, tags)


def _restore(trainer: Trainer, folder: RunFolder, facts: Facts, figures: _Figures) -> None:
    """Where the last checkpoint ends; from the beginning where a run was killed before its first."""
    folder.check(facts)
    checkpoint = folder.checkpoints.last()
    if checkpoint is not None:
        trainer.restore(checkpoint)
    figures.go_on(folder.keep_until(trainer.progress.step))


def _quote(trainer: Trainer, wanted: Wanted, screen: Screen) -> None:
    from fairway.tune.out_of_memory import memory_told
    from fairway.tune.quote import gib, measure

    with screen.step("Tried one update"), memory_told(trainer):
        quote = measure(trainer)
    if wanted.dry_run and wanted.as_json:
        price = {} if wanted.price_per_hour is None else {"cost": quote.cost(wanted.price_per_hour)}
        click.echo(json.dumps(asdict(quote) | price, indent=1))
        return
    screen.note(
        f"{quote.num_examples:,} examples, {quote.num_updates:,} updates, {quote.num_tokens:,} tokens; "
        f"{quote.num_trained:,} parameters are trained.\n"
        f"About {_duration(quote.seconds)} at {quote.tokens_per_s:,.0f} tokens/s, "
        f"{gib(quote.memory_bytes)} of memory{_cost(quote, wanted)}.{_advice(trainer.job)}"
    )


def _cost(quote: Quote, wanted: Wanted) -> str:
    price = wanted.price_per_hour
    return "" if price is None else f"; that costs {quote.cost(price):,.2f} at {price:g} per hour"


def _advice(job: Job) -> str:
    """A faster type than was asked for, or one that this processor is slow at."""
    from fairway.map.cpu import read_processor
    from fairway.models.families import read_config
    from fairway.models.sizes import num_parameters

    has_fast = job.device.type == "cuda" or read_processor(platform.system()).multiplies_bfloat16
    if job.recipe.bf16 == has_fast:
        return ""
    if has_fast:
        if num_parameters(read_config(job.bundle.config, job.bundle.config_name)) < GAINS_FROM_BFLOAT16:
            return ""
        return "\nWith --bf16 it would be faster: this machine multiplies bfloat16."
    return "\nWithout --bf16 it would be faster: this processor has no instructions for bfloat16."


def _duration(seconds: float) -> str:
    """ "2 h 05 min", "3 min 20 s" """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


class _Stop:
    """Ctrl-C asks once and is obeyed after the update; a second one ends at once."""

    def __init__(self) -> None:
        self._asked = False

    def asked(self) -> bool:
        return self._asked

    @contextmanager
    def listening(self, screen: Screen) -> Iterator[None]:
        def ask(*_: object) -> None:
            self._asked = True
            signal.signal(signal.SIGINT, before)
            screen.note("Stopping after this update.")

        before = signal.signal(signal.SIGINT, ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


class _Figures:
    """What updates did: into the run folder, and onto the bar."""

    def __init__(self, folder: RunFolder) -> None:
        self.progress: Progress | None = None
        self.lines: list[dict[str, Any]] = []
        self.shown: str | None = None
        """The figure that people watch beside the loss."""
        self.trackers: Trackers | None = None
        self.curve = TextCurve()
        self._folder = folder

    def go_on(self, lines: list[dict[str, Any]]) -> None:
        """After the updates of an earlier process."""
        self.lines = lines
        for _, loss in self.learned:
            self.curve.add(loss)

    @property
    def learned(self) -> list[tuple[int, float]]:
        return self.points("loss")

    def points(self, name: str) -> list[tuple[int, float]]:
        """(update, figure), of the updates that have it."""
        return [(line["step"], line[name]) for line in self.lines if name in line]

    def changes(self) -> Iterator[tuple[str, float, float]]:
        """Of rewards: name, first value, last value."""
        for name in self.lines[-1]:
            points = self.points(name) if name.startswith("reward") else []
            if points:
                yield name, points[0][1], points[-1][1]

    def tell(self, update: Update) -> None:
        from fairway.tune.run_folder import SAMPLES

        values = asdict(update)
        figures, held_out = values.pop("figures"), values.pop("held_out")
        for sample in values.pop("samples"):
            self._folder.add({"step": update.step, **sample}, SAMPLES)
        values |= figures | {f"held_out_{name}": value for name, value in held_out.items()}
        self.lines.append({key: value for key, value in values.items() if value is not None})
        self._folder.add(self.lines[-1])
        self.curve.add(update.loss)
        if self.trackers is not None:
            logged = {key: value for key, value in self.lines[-1].items() if key not in PLACES}
            self.trackers.log(update.step, logged)
        if self.progress is not None:
            speed = f"{update.num_tokens / update.seconds:,.0f} tokens/s"
            what = f"{self.curve} loss {update.loss:.3f}, {speed}"
            if self.shown in figures:
                what += f", {self.shown} {figures[self.shown]:.3f}"
            self.progress(update.step, update.num_steps, what)

    def tell_trl(self, values: Mapping[str, Any]) -> None:
        """A line of TRL's own log."""
        self.lines.append(dict(values))
        self._folder.add(values)
        if self.progress is not None:
            self.progress(values["step"], values["num_steps"], f"loss {values['loss']:.3f}")

    def draw(self, held_out: list[tuple[int, float]]) -> None:
        from fairway.report.loss_chart import figure_chart, loss_chart

        self._write("loss.svg", loss_chart(self.learned, held_out))
        if self.shown is not None and (shown := self.points(self.shown)):
            measured = self.points(f"held_out_{self.shown}")
            self._write("rewards.svg", figure_chart(self.shown, shown, measured))

    def _write(self, name: str, chart: str) -> None:
        from fairway.formats.atomic import atomic_file

        with atomic_file(self._folder.path / name) as file:
            file.write(chart.encode("utf-8"))


def _epoch_keeper(folder: RunFolder, prepared: Prepared, job: Job) -> Callable[[int], None]:
    """Told of a step, writes the adapter as it is, if an epoch ends there and the recipe keeps epochs."""
    from fairway.tune.publish_result import Origins, publish_adapter
    from fairway.tune.run_folder import EPOCHS

    origins = Origins(prepared.bundle, prepared.base_name, prepared.recipe, prepared.facts)
    ends = set(job.batches.epoch_ends[:-1]) if prepared.recipe.keep_epochs else set()

    def keep(step: int) -> None:
        if job.lora is not None and step in ends:
            path = folder.path / EPOCHS / f"step-{step}"
            path.mkdir(parents=True, exist_ok=True)
            publish_adapter(path, job.lora, job.trained, origins)

    return keep


def _publish(
    folder: Path,
    prepared: Prepared,
    tensors: Mapping[str, Any],
    made: tuple[LoraLayers | PrefixTokens | None, Mapping[str, str]],
    screen: Screen,
) -> Path:
    from fairway.tune.publish_result import Origins, publish_adapter, publish_model

    origins = Origins(prepared.bundle, prepared.base_name, prepared.recipe, prepared.facts)
    beside, stored = made
    if beside is not None:
        return publish_adapter(folder, beside, tensors, origins)
    with screen.step("Wrote the model", is_bytes=True) as progress:
        return publish_model(folder, tensors, stored, origins, progress)


def _tell(wanted: Wanted, path: Path, trainer: Trainer, figures: _Figures) -> None:
    state = trainer.progress
    before, after = (state.held_out[0], state.held_out[-1]) if state.held_out else (None, None)
    if wanted.as_json:
        result = {"result": str(path), "num_updates": state.step, "loss": figures.learned[-1][1],
                  "held_out": state.held_out, "stopped_early": state.is_over,
                  "num_tokens": state.num_tokens, "seconds": state.seconds,
                  "first": figures.lines[0], "last": figures.lines[-1]}  # fmt: skip
        click.echo(json.dumps(result, indent=1))
        return
    click.echo(f"{path}")
    click.echo(f"  {state.step:,} updates, {state.num_tokens / max(state.seconds, 1e-9):,.0f} tokens/s")
    losses = [loss for _, loss in figures.learned]
    click.echo(f"  loss {losses[0]:.3f} {figures.curve} {losses[-1]:.3f}")
    if before is not None and after is not None:
        name = trainer.objective.held_out_name
        click.echo(f"  held-out {name} {before[1]:.3f} before, {after[1]:.3f} after")
    for name, first, last in figures.changes():
        click.echo(f"  {name} {first:.3f} in the first update, {last:.3f} in the last")
    if state.is_over:
        click.echo(f"  stopped early; kept update {state.best_step:,}, held-out loss {state.best_loss:.3f}")
    lora = trainer.job.lora
    is_served = trainer.job.prefix is not None or (lora is not None and not lora.uses_dora)
    if is_served:
        click.echo(f"  serve it: fairway serve {wanted.model} --lora {wanted.out.resolve().name}={path}")
    if lora is not None:
        click.echo(
            f"  merge it: fairway merge {wanted.model} {path} --out {wanted.out.resolve().name}-merged"
        )


def _again(wanted: Wanted) -> str:
    validation = "" if wanted.validation is None else f" --validation {wanted.validation}"
    return f"fairway tune {wanted.model} {wanted.data} --out {wanted.out}{validation} --resume"
