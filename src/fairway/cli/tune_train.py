"""`fairway tune` when it trains: prepare, quote, run with a bar, publish, tell. Survives kills and Ctrl-C."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.screen import Screen
from fairway.cli.tune_gate import publish_gated
from fairway.cli.tune_wanted import Wanted
from fairway.registry.progress import Progress

if TYPE_CHECKING:
    from fairway.formats.bundle import Bundle
    from fairway.tune.encode import Example
    from fairway.tune.lora_layers import LoraLayers
    from fairway.tune.prefix_tokens import PrefixTokens
    from fairway.tune.quote import Quote
    from fairway.tune.recipe import Recipe
    from fairway.tune.run_folder import Facts, RunFolder
    from fairway.tune.settings import DataSettings
    from fairway.tune.tracking import TrackedRun, Trackers
    from fairway.tune.trainer import Trainer, Update

PLACES = ("step", "num_steps")
KEPT = ("loss.svg", "run.json", "recipe.toml", "metrics.jsonl", "gate.json")
"""Files of a run's folder that trackers keep beside the result."""


@dataclass(frozen=True)
class _Prepared:
    bundle: Bundle
    base_name: str
    recipe: Recipe
    facts: Facts
    examples: list[Example]
    held_out: list[Example]


def train(wanted: Wanted, screen: Screen) -> int:
    """Trains, or goes on with what was begun, and publishes the result."""
    from fairway.tune.torch_extra import require_torch
    from fairway.tune.tracking import Trackers, check_trackers

    require_torch()
    if wanted.recipe is not None:
        check_trackers(wanted.recipe.report_to)
    from fairway.map.probe import probe
    from fairway.tune.out_of_memory import memory_told
    from fairway.tune.prepare_job import prepare_job
    from fairway.tune.quote import check_memory
    from fairway.tune.run_folder import RunFolder
    from fairway.tune.trainer import Interrupted, Trainer

    folder = RunFolder(wanted.out)
    recipe = folder.recipe() if wanted.recipe is None else wanted.recipe
    if wanted.recipe is not None:
        folder.check_empty()
    prepared = _prepare(wanted, recipe, screen)
    check_memory(prepared.bundle, recipe, probe().memory_free_bytes)
    with screen.step("Read the weights") as progress:
        job, stored = prepare_job(prepared.bundle, recipe, (prepared.examples, prepared.held_out), progress)
    stop, figures = _Stop(), _Figures(folder)
    trainer = Trainer(job, folder.checkpoints, figures.tell, stop.asked)
    if wanted.recipe is None:
        _restore(trainer, folder, prepared.facts, figures)
    else:
        _quote(trainer, wanted, screen)
        if wanted.dry_run:
            return 0
        folder.begin(recipe, prepared.facts)
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


def _prepare(wanted: Wanted, recipe: Recipe, screen: Screen) -> _Prepared:
    """Reads and tokenises everything: whatever is wrong with it is said here."""
    from fairway.formats.digest import bundle_digest
    from fairway.formats.open import open_bundle
    from fairway.registry.resolve import resolve
    from fairway.tune.dataset import open_dataset
    from fairway.tune.encode import encoder_for
    from fairway.tune.prepare_job import load_examples
    from fairway.tune.run_folder import Facts, file_digest

    with screen.step(f"Found {wanted.model}", is_bytes=True) as progress:
        located = resolve(wanted.model, progress)
        bundle = open_bundle(located.path)
        digest = bundle_digest(bundle, progress).value
    encoder = encoder_for(bundle, with_length(recipe.data, bundle, screen))
    files = [wanted.data] if wanted.validation is None else [wanted.data, wanted.validation]
    sets = []
    for path in files:
        with screen.step(f"Read {path.name}") as progress:
            data = open_dataset(path)
            sets.append((data, load_examples(data, encoder, progress)))
    (data, examples), held_out = sets[0], sets[1][1] if len(sets) > 1 else []
    facts = Facts(
        model=bundle.name,
        model_digest=digest,
        data=wanted.data.name,
        data_digest=file_digest(wanted.data),
        held_out=None if wanted.validation is None else wanted.validation.name,
        held_out_digest=None if wanted.validation is None else file_digest(wanted.validation),
        num_rows=len(data),
        num_examples=len(examples),
        num_tokens=sum(map(len, examples)),
    )
    return _Prepared(bundle, located.name or str(wanted.model), recipe, facts, examples, held_out)


def with_length(settings: DataSettings, bundle: Bundle, screen: Screen) -> DataSettings:
    """Longest examples as the model's context has it, where nothing else is said."""
    from fairway.formats.summary import summarize

    context = summarize(bundle).context_length
    if settings.max_length is None:
        return replace(settings, max_length=context)
    if context is not None and settings.max_length > context:
        screen.note(
            f"Note: --max-length {settings.max_length:,} is more than the model's context, {context:,}."
        )
    return settings


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
    lines = folder.keep_until(trainer.progress.step)
    figures.learned = [(line["step"], line["loss"]) for line in lines]


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
        f"{gib(quote.memory_bytes)} of memory{_cost(quote, wanted)}."
    )


def _cost(quote: Quote, wanted: Wanted) -> str:
    price = wanted.price_per_hour
    return "" if price is None else f"; that costs {quote.cost(price):,.2f} at {price:g} per hour"


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
        self.trackers: Trackers | None = None
        self.learned: list[tuple[int, float]] = []
        self._folder = folder

    def tell(self, update: Update) -> None:
        self.learned.append((update.step, update.loss))
        values = {key: value for key, value in asdict(update).items() if value is not None}
        self._folder.add(values)
        if self.trackers is not None:
            self.trackers.log(update.step, {key: value for key, value in values.items() if key not in PLACES})
        if self.progress is not None:
            speed = update.num_tokens / update.seconds
            what = f"loss {update.loss:.3f}, {speed:,.0f} tokens/s"
            self.progress(update.step, update.num_steps, what)

    def draw(self, held_out: list[tuple[int, float]]) -> None:
        from fairway.formats.atomic import atomic_file
        from fairway.report.loss_chart import loss_chart

        with atomic_file(self._folder.path / "loss.svg") as file:
            file.write(loss_chart(self.learned, held_out).encode("utf-8"))


def _publish(
    folder: Path,
    prepared: _Prepared,
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
                  "num_tokens": state.num_tokens, "seconds": state.seconds}  # fmt: skip
        click.echo(json.dumps(result, indent=1))
        return
    click.echo(f"{path}")
    click.echo(f"  {state.step:,} updates, {state.num_tokens / max(state.seconds, 1e-9):,.0f} tokens/s")
    if before is not None and after is not None:
        click.echo(f"  held-out loss {before[1]:.3f} before, {after[1]:.3f} after")
    if state.is_over:
        click.echo(f"  stopped early; kept update {state.best_step:,}, held-out loss {state.best_loss:.3f}")
    lora = trainer.job.lora
    if lora is not None and not lora.uses_dora:
        click.echo(f"  serve it: fairway serve {wanted.model} --lora {wanted.out.resolve().name}={path}")
    if lora is not None:
        click.echo(
            f"  merge it: fairway merge {wanted.model} {path} --out {wanted.out.resolve().name}-merged"
        )


def _again(wanted: Wanted) -> str:
    validation = "" if wanted.validation is None else f" --validation {wanted.validation}"
    return f"fairway tune {wanted.model} {wanted.data} --out {wanted.out}{validation} --resume"
