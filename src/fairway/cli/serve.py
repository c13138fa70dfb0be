"""`fairway serve MODEL...`: one or more models over HTTP, each under its own name."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.adapters import load_loras, lora_option, parse_loras, with_room
from fairway.cli.addresses import Addresses
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
from fairway.cli.prepare import Planned, after, load, plan_model, split_name
from fairway.cli.screen import Screen, screen_for
from fairway.errors import UsageError
from fairway.map.settings import PlanSettings

if TYPE_CHECKING:
    from fairway.runtimes.protocol import Runtime
    from fairway.server.listening import Address
    from fairway.server.pages import LatePage, Page
    from fairway.server.settings import ServerSettings


@click.command(context_settings=HELP)
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@lora_option
@adapter_options
@server_options
@engine_options
@json_option
def serve(models: tuple[str, ...], loras: tuple[str, ...], as_json: bool, **flags: Any) -> None:  # noqa: ANN401
    """Serve each MODEL over HTTP.

    NAME=MODEL serves it under that name. MODEL is a folder, a .gguf or .safetensors file, a hub id
    (org/name, org/name:Q4_K_M), or "builtin". Requests choose an adapter by its NAME or by MODEL:NAME.
    """
    screen = screen_for(as_json)
    settings = server_settings(flags)
    check_address(settings)
    import_server_early()
    planned = plan_all(models, engine_settings(flags), screen, loras)
    adapters = parse_loras(loras, [each.name for each in planned])
    with within_memory(planned[-1]), ExitStack() as stack:
        runtimes = {}
        for each in planned:
            runtimes[each.name] = load(each, screen)
            stack.callback(runtimes[each.name].close)
        load_loras(adapters, runtimes, screen)
        run_server(
            runtimes, settings, lambda address: _announce(address, planned, runtimes, settings, as_json)
        )
        if len(planned) == 1:
            remember_end("serve", planned[0], runtimes[planned[0].name])


def remember_end(command: str, planned: Planned, runtime: Runtime) -> None:
    """For `fairway plan --history`: what a process with one model holds when it has served."""
    from fairway.map.compare import remember_memory

    stats = runtime.stats()
    held = stats.kv_blocks_used + stats.kv_blocks_cached
    remember_memory(command, planned.name, planned.bundle, planned.plan, held)


def plan_all(
    models: Sequence[str], settings: PlanSettings, screen: Screen, loras: Sequence[str] = ()
) -> list[Planned]:
    """Plans every model before the first is loaded, each with what the ones before it leave."""
    from fairway.map.probe import probe

    machine = probe()
    planned: list[Planned] = []
    for model in models:
        name = split_name(model)[0] or Path(model).stem
        own = loras if len(models) == 1 else [each for each in loras if each.startswith(f"{name}:")]
        each = plan_model(model, with_room(settings, own), screen, machine)
        if any(each.name == other.name for other in planned):
            raise UsageError(
                f"Two models are named {each.name}.",
                hint=f"Name one of them: other={model.rpartition('=')[2]}",
            )
        planned.append(each)
        machine = after(machine, each.plan)
    return planned


def check_address(settings: ServerSettings) -> None:
    """Raises now what would only come after the weights are loaded: a taken port, a missing key."""
    from fairway.server.listening import listen

    opened, _ = listen(settings)
    opened.close()


def import_server_early() -> None:
    """Imports the server on a thread, while this one reads weights."""
    threading.Thread(target=_import_server, name="fairway-import", daemon=True).start()


def _import_server() -> None:
    import fairway.console.pages
    import fairway.server.app
    import fairway.server.run  # noqa: F401


def run_server(runtimes: Mapping[str, Runtime], settings: ServerSettings, on_ready: Any) -> None:  # noqa: ANN401
    """Serves until a signal; drains before it returns."""
    from fairway.cli.catalogue import map_page_of
    from fairway.console.pages import console_pages
    from fairway.server.app import create_app
    from fairway.server.model_table import ModelTable
    from fairway.server.run import serve as serve_app

    pages: list[Page | LatePage] = [*console_pages(), map_page_of(settings.has_keys)]
    serve_app(create_app(ModelTable(runtimes), settings, pages), settings, on_ready)


def _announce(
    address: Address,
    planned: Sequence[Planned],
    runtimes: Mapping[str, Runtime],
    settings: ServerSettings,
    as_json: bool,
) -> None:
    served = [
        Addresses(address.url, name, runtime.info.has_chat_template, settings.has_keys)
        for name, runtime in runtimes.items()
    ]
    if as_json:
        rows = [
            {"model": each.model, **each.to_dict(), "plan": one.plan.to_dict()}
            for each, one in zip(served, planned, strict=True)
        ]
        click.echo(json.dumps({"url": address.url, "models": rows}))
        return
    for one in planned:
        click.echo(f"{one.name}: {one.plan.in_a_line()}")
    click.echo(f"Serving {', '.join(runtimes)} at {click.style(address.url, bold=True)} (Ctrl-C stops it)")
