"""`fairway up [MODEL]`: inspect, plan, prepare, check, serve, in one command that needs no flag."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.adapters import load_loras, lora_option, parse_loras, with_room
from fairway.cli.addresses import Addresses
from fairway.cli.first_answer import FirstAnswer, check
from fairway.cli.memory_end import within_memory
from fairway.cli.options import (
    HELP,
    adapter_options,
    engine_options,
    engine_settings,
    json_option,
    server_options,
    server_settings,
)
from fairway.cli.prepare import Planned, load, plan_model
from fairway.cli.screen import Screen, screen_for
from fairway.cli.serve import check_address, import_server_early, remember_end, run_server

if TYPE_CHECKING:
    from fairway.runtimes.protocol import Runtime
    from fairway.server.listening import Address
    from fairway.server.settings import ServerSettings

NAME_WIDTH = 9
ENOUGH_TOKENS = 32
"""Of a first answer, to say something of speed."""


@click.command(context_settings=HELP)
@click.argument("model", required=False)
@lora_option
@adapter_options
@server_options
@engine_options
@click.option("--no-serve", is_flag=True, help="End after the check, with the answer.")
@json_option
def up(
    model: str | None,
    no_serve: bool,
    as_json: bool,
    loras: tuple[str, ...],
    **flags: Any,  # noqa: ANN401
) -> None:
    """Prepare MODEL, check it and serve it: the whole way in one command.

    MODEL is a folder, a .gguf or .safetensors file, a hub id (org/name, org/name:Q4_K_M), or nothing
    for the built-in model.
    """
    screen = screen_for(as_json)
    settings = server_settings(flags)
    engine = engine_settings(flags)
    if not no_serve:
        check_address(settings)
        import_server_early()
    planned = plan_model(model, with_room(engine, loras), screen)
    adapters = parse_loras(loras, [planned.name])
    if not as_json:
        _print(planned.plan.lines())
    with within_memory(planned), closing(load(planned, screen)) as runtime:
        load_loras(adapters, {planned.name: runtime}, screen)
        answer = _check(runtime, screen, as_json)
        _remember_speed(planned, answer)
        report = Report(planned, answer, as_json)
        if no_serve:
            report.end()
        else:
            served = {planned.name: runtime}
            run_server(served, settings, lambda address: report.ready(address, runtime, settings))
        remember_end("up", planned, runtime)


def _check(runtime: Runtime, screen: Screen, as_json: bool) -> FirstAnswer:
    if as_json:
        return check(runtime)
    click.echo()
    with screen.step("Checked with a first answer"):
        return check(runtime)


def _remember_speed(planned: Planned, answer: FirstAnswer) -> None:
    """For `fairway plan --history`; an answer of a few tokens says nothing of speed."""
    from fairway.map.compare import remember_answer
    from fairway.map.speed import Load

    if answer.num_tokens >= ENOUGH_TOKENS:
        load = Load(answer.num_prompt_tokens, answer.num_tokens)
        remember_answer("up", planned.name, planned.bundle, planned.plan, load, answer.tokens_per_s)


class Report:
    """What is said once the model has answered."""

    def __init__(self, planned: Planned, answer: FirstAnswer, as_json: bool) -> None:
        self._planned = planned
        self._answer = answer
        self._as_json = as_json

    def end(self) -> None:
        if self._as_json:
            click.echo(json.dumps(self._to_dict()))
        else:
            self._print_answer()

    def ready(self, address: Address, runtime: Runtime, settings: ServerSettings) -> None:
        """The server answers at `address`."""
        addresses = Addresses(
            address.url, self._planned.name, runtime.info.has_chat_template, settings.has_keys
        )
        if self._as_json:
            click.echo(json.dumps(self._to_dict() | addresses.to_dict()))
            return
        click.echo()
        _print(addresses.lines())
        self._print_answer()
        click.echo(f"\nServing at {click.style(address.url, bold=True)} (Ctrl-C stops it)")

    def _print_answer(self) -> None:
        answer = self._answer
        click.echo("\n" + answer.as_text(lambda text: click.style(text, bold=True)))
        click.echo(
            click.style(f"{answer.num_tokens} tokens at {answer.tokens_per_s:.0f} per second", dim=True)
        )

    def _to_dict(self) -> dict[str, Any]:
        return {
            "model": self._planned.name,
            "plan": self._planned.plan.to_dict(),
            "answer": self._answer.to_dict(),
        }


def _print(lines: Sequence[tuple[str, str]]) -> None:
    for name, text in lines:
        click.echo(f"  {click.style(name.ljust(NAME_WIDTH), dim=True)}{text}")
