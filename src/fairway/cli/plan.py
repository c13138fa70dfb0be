"""`fairway plan MODEL`: the way from a checkpoint to an endpoint, what it takes, and why not another."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.options import HELP, engine_options, engine_settings, json_option
from fairway.cli.plan_text import print_answer, print_history, print_race
from fairway.cli.screen import Screen, screen_for
from fairway.errors import ToolFailed, UsageError

if TYPE_CHECKING:
    from fairway.map.routes.candidates import Finder
    from fairway.map.routes.devices import Device
    from fairway.map.routes.race import Lap
    from fairway.map.routes.route import Answer

GOALS = ("latency", "throughput", "cheapest", "smallest", "train")
NAME_WIDTH = 10


@click.command(context_settings=HELP)
@click.argument("model", required=False)
@click.option(
    "--goal", type=click.Choice(GOALS), help="What counts. [default: good answers, pleasantly fast]"
)
@click.option("--users", type=click.IntRange(1), help="People who ask at once. [default: 1; throughput 32]")
@click.option("--budget", metavar="DOLLARS[/h|/month|/M]", help="The most it may cost, a month if not said.")
@click.option(
    "--on", "on", multiple=True, metavar="DEVICE", help="THIS, or a device of the map: H100, RTX4090, M3."
)
@click.option("--price", type=click.FloatRange(0), metavar="DOLLARS", help="What the device costs an hour.")
@click.option(
    "--measure", is_flag=True, help="Race the best routes on this machine, and plan again from that."
)
@click.option("--run", "execute", is_flag=True, help="Go the way: convert what must be, then serve.")
@click.option("--history", is_flag=True, help="What was predicted on this machine, and what was measured.")
@engine_options
@json_option
def plan(model: str | None, as_json: bool, **flags: Any) -> None:  # noqa: ANN401
    """Plan the way from MODEL to an endpoint that answers, or with --goal train to an adapter.

    Says hops, runtime, weights, memory, speed and cost, two other ways and what they trade, and why not the
    rest. MODEL is a folder, a file, a hub id or nothing for the built-in model.
    """
    from fairway.map.routes.choose import find_routes

    if flags["history"]:
        print_history(as_json)
        return
    screen = screen_for(as_json)
    finder, devices = _asked(model, flags, screen)
    if finder.question.goal == "train":
        _train(finder, devices, as_json, execute=flags["execute"])
        return
    answer = find_routes(finder, devices)
    laps: list[Lap] = []
    if flags["measure"]:
        answer, laps = _race(answer, finder, devices, screen)
    if as_json and not flags["execute"]:
        click.echo(json.dumps(answer.to_dict() | {"measured": [lap.to_dict() for lap in laps]}, indent=1))
    elif not as_json:
        if laps:
            print_race(laps)
        print_answer(answer)
    if flags["execute"]:
        run_commands(answer.best.commands, is_here=answer.best.device.is_here)


def _asked(model: str | None, flags: dict[str, Any], screen: Screen) -> tuple[Finder, list[Device]]:
    """Everything is read and checked here; nothing is computed yet."""
    from fairway.map.catalogue import load_catalogue
    from fairway.map.gpus import read_gpus
    from fairway.map.history import corrections_for
    from fairway.map.known_limits import known_limits
    from fairway.map.probe import probe
    from fairway.map.routes.candidates import Finder
    from fairway.map.routes.devices import devices_for, rentable
    from fairway.map.routes.question import Question

    question = Question.asked(flags["goal"], flags["users"], flags["budget"], engine_settings(flags))
    catalogue, machine = load_catalogue(), probe()
    names, here = flags["on"], not flags["on"] or any(name.lower() == "this" for name in flags["on"])
    gpus = read_gpus(machine.system) if here else ()
    known = known_limits(machine)
    if here and known is None:
        known = _measured(machine, screen)
    devices = devices_for(names, machine, gpus, known, catalogue, flags["price"])
    if question.goal == "cheapest" and not names:
        devices += rentable(catalogue)
    bundle, config = _read(model, screen)
    finder = Finder(bundle, config, question, catalogue, corrections_for(machine))
    return _with_isa(finder), devices


def _read(model: str | None, screen: Screen) -> Any:  # noqa: ANN401  (bundle, config)
    from fairway.convert.merge_lora import with_adapters
    from fairway.formats.open import obstacle, open_bundle
    from fairway.formats.quantized_folder import with_weights
    from fairway.map.random_models import PREFIX, random_model
    from fairway.models.families import read_config
    from fairway.registry.resolve import resolve

    if model is not None and model.startswith(PREFIX):
        bundle = random_model(model)
    else:
        with screen.step("Found the model", is_bytes=True) as progress:
            located = resolve(model, progress)
        bundle = with_adapters(open_bundle(located.path, complete=False))
        if reason := obstacle(bundle):
            raise reason
        bundle = replace(with_weights(bundle), name=located.name or bundle.name)
    return bundle, read_config(bundle.config, bundle.config_name)


def _with_isa(finder: Finder) -> Finder:
    from fairway.kernels.select import choose_isa

    settings = finder.question.settings
    settings = replace(settings, isa=choose_isa(settings.isa))
    return replace(finder, question=replace(finder.question, settings=settings))


def _measured(machine: Any, screen: Screen) -> Any:  # noqa: ANN401
    """This machine's limits, the first time that they are asked for."""
    from fairway.kernels.extension import native_isas
    from fairway.map.known_limits import limits_of

    if not native_isas():
        return None
    with screen.step("Measured this machine, once"):
        return limits_of(machine)


def _race(answer: Answer, finder: Finder, devices: list[Device], screen: Screen) -> tuple[Answer, list[Lap]]:
    from fairway.map.routes.choose import find_routes
    from fairway.map.routes.race import corrections_of, race

    laps = race(answer, finder, screen)
    finder = replace(finder, corrections=corrections_of(laps))
    return find_routes(finder, devices), laps


def _train(finder: Finder, devices: list[Device], as_json: bool, *, execute: bool) -> None:
    from fairway.map.routes.tuning import plan_tuning

    ways = plan_tuning(finder, devices)
    if as_json:
        click.echo(json.dumps(ways.to_dict(), indent=1))
        return
    for name, text in ways.lines():
        click.echo(f"  {click.style(name.ljust(NAME_WIDTH), dim=True)}{text}")
    if execute:
        raise UsageError("--run needs the data: run the printed command with yours in place of DATA.")


def run_commands(commands: tuple[str, ...], *, is_here: bool) -> None:
    """One after the other: our own in this process, others as programs. Stops at the first that fails."""
    import shutil
    import subprocess

    from fairway.cli import main

    if not is_here:
        raise UsageError("--run goes the way on this machine only.", hint="Run the printed commands there.")
    for command in commands:
        words = shlex.split(command)
        click.secho(f"$ {command}", bold=True, err=True)
        if words[0] == "fairway":
            code = main.run(words[1:])
        elif shutil.which(words[0]) is None:
            raise UsageError(
                f"{words[0]} is not installed.", hint="Install it, or take the route without it."
            )
        else:
            code = subprocess.run(words, check=False).returncode
        if code:
            raise ToolFailed(f"{command} ended with {code}; the way ends here.")
