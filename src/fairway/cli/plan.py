"""`fairway plan MODEL`: the way from a checkpoint to an endpoint, what it takes, and why not another."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.options import (
    ENGINE_FLAGS,
    HELP,
    engine_options,
    engine_settings,
    json_option,
    planned_adapter_options,
)
from fairway.cli.plan_text import print_answer, print_history, print_race
from fairway.cli.screen import Screen, screen_for
from fairway.errors import ToolFailed, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fairway.map.routes.candidates import Finder
    from fairway.map.routes.devices import Device
    from fairway.map.routes.race import Lap
    from fairway.map.routes.route import Answer

GOALS = ("latency", "throughput", "cheapest", "smallest", "train")
MOST_USERS = 4096
"""Requests that an engine computes in one step at most."""
MOST_PRICE = 1e6
NAME_WIDTH = 10
PYTHON = "python"
"""As a command says it; what runs is the Python that runs Fairway."""


@click.command(context_settings=HELP)
@click.argument("model", required=False)
@click.option(
    "--goal", type=click.Choice(GOALS), help="What counts. [default: good answers, pleasantly fast]"
)
@click.option(
    "--users",
    type=click.IntRange(1, MOST_USERS),
    help="People who ask at once. [default: 1; throughput 32; cheapest 8]",
)
@click.option("--budget", metavar="DOLLARS[/h|/month|/M]", help="The most it may cost, a month if not said.")
@click.option(
    "--on", "on", multiple=True, metavar="DEVICE", help="THIS, or a device of the map: H100, RTX4090, M3."
)
@click.option("--price", type=float, metavar="DOLLARS", help="What the device costs an hour.")
@click.option(
    "--measure", is_flag=True, help="Race the best routes on this machine, and plan again from that."
)
@click.option("--run", "execute", is_flag=True, help="Go the way: convert what must be, then serve.")
@click.option("--history", is_flag=True, help="What was predicted on this machine, and what was measured.")
@engine_options
@planned_adapter_options
@json_option
def plan(model: str | None, as_json: bool, **flags: Any) -> None:  # noqa: ANN401
    """Plan the way from MODEL to an endpoint that answers, or with --goal train to an adapter.

    Says hops, runtime, weights, memory, speed and cost, two other ways and what they trade, and why not the
    rest. MODEL is a folder, a file, a hub id or nothing for the built-in model.
    """
    from fairway.map.routes.choose import find_routes

    check_wishes(model, as_json, flags)
    if flags["history"]:
        print_history(as_json)
        return
    screen = screen_for(as_json)
    finder, devices = _asked(model, flags, screen)
    if finder.question.goal == "train":
        _train(finder, devices, as_json)
        return
    answer = find_routes(finder, devices)
    laps: list[Lap] = []
    if flags["measure"]:
        answer, laps = _race(answer, finder, devices, screen)
    if as_json:
        click.echo(json.dumps(answer.to_dict() | {"measured": [lap.to_dict() for lap in laps]}, indent=1))
        return
    if laps:
        print_race(laps)
    print_answer(answer)
    if flags["execute"]:
        run_commands(answer.best.commands, is_here=answer.best.device.is_here)


def check_wishes(model: str | None, as_json: bool, flags: Mapping[str, Any]) -> None:
    """Raises `UsageError` for flags that contradict each other; none is ignored in silence."""
    given = {
        name for name, value in flags.items() if value is not None and value is not False and value != ()
    }
    given |= {name for name in ENGINE_FLAGS if flags[name] is not None}
    if flags["history"] and (model is not None or given - {"history"}):
        raise UsageError("--history is asked alone.", hint="fairway plan --history, with or without --json.")
    if flags["goal"] == "train":
        serving = ("measure", "execute", "users", "budget", *ENGINE_FLAGS)
        if wrong := next((name for name in serving if name in given), None):
            flag = "--run" if wrong == "execute" else f"--{wrong.replace('_', '-')}"
            raise UsageError(
                f"--goal train and {flag} contradict each other: {flag} is about serving.",
                hint=f"Leave {flag} away; fairway tune trains, with your data.",
            )
    if flags["execute"] and as_json:
        raise UsageError("--run and --json contradict each other.", hint="Leave one of them away.")
    if flags["measure"] and flags["on"] and not any(is_here(name) for name in flags["on"]):
        raise UsageError("--measure races on this machine only.", hint="Add --on THIS, or leave --on away.")
    price = flags["price"]
    if price is not None and not 0 <= price <= MOST_PRICE:
        raise UsageError(f"--price {price:g} is no price.", hint="Write dollars an hour, for example 2.5.")


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
    names, here = flags["on"], not flags["on"] or any(is_here(name) for name in flags["on"])
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


def is_here(name: str) -> bool:
    """Whether --on names this machine."""
    from fairway.map.routes.devices import HERE_NAMES

    return name.lower() in HERE_NAMES


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


def _train(finder: Finder, devices: list[Device], as_json: bool) -> None:
    from fairway.map.routes.tuning import plan_tuning

    ways = plan_tuning(finder, devices)
    if as_json:
        click.echo(json.dumps(ways.to_dict(), indent=1))
        return
    for name, text in ways.lines():
        click.echo(f"  {click.style(name.ljust(NAME_WIDTH), dim=True)}{text}")


def run_commands(commands: tuple[str, ...], *, is_here: bool) -> None:
    """One after the other: our own in this process, others as programs. Stops at the first that fails."""
    import subprocess

    from fairway.cli import main

    if not is_here:
        raise UsageError("--run goes the way on this machine only.", hint="Run the printed commands there.")
    for command in commands:
        _check_installed(shlex.split(command))
    for command in commands:
        words = shlex.split(command)
        click.secho(f"$ {command}", bold=True, err=True)
        if words[0] == "fairway":
            code = main.run(words[1:])
        else:
            program = sys.executable if words[0] == PYTHON else words[0]
            code = subprocess.run([program, *words[1:]], check=False).returncode
        if code:
            raise ToolFailed(f"{command} ended with {code}; the way ends here.")


def _check_installed(words: Sequence[str]) -> None:
    """Before anything is converted. Raises `UsageError` for a program or Python module that is not here."""
    import importlib.util
    import re
    import shutil

    name, is_here = words[0], True
    if name == PYTHON:
        name = words[2].split(".")[0] if words[1] == "-m" else re.split(r"\W+", words[2])[1]
        is_here = importlib.util.find_spec(name) is not None
    elif name != "fairway":
        is_here = shutil.which(name) is not None
    if not is_here:
        raise UsageError(
            f"{name} is not installed, so nothing was done.",
            hint=f"Install {name}, or take a route that Fairway runs itself (fairway up).",
        )
