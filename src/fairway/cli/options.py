"""Flags made from settings: name, type, help and default come from the dataclass's own field.

A flag that is not given is None, so the file and the environment can still speak; `settings.load`
checks every value and names the flag in its errors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import click

from fairway import settings
from fairway.errors import UsageError
from fairway.map.settings import CatalogueSettings, PlanSettings
from fairway.server.settings import ServerSettings

SECTIONS: dict[str, type[Any]] = {
    "engine": PlanSettings,
    "server": ServerSettings,
    "catalogue": CatalogueSettings,
}

# On every command of its own: click remembers the names that it was first asked with.
HELP = {"help_option_names": ["-h", "--help"]}

F = TypeVar("F", bound=Callable[..., Any])

ENGINE_FLAGS = {
    name: settings.flag_name(name)
    for name in (
        "weights",
        "context",
        "kv",
        "kv_share",
        "threads",
        "max_sequences",
        "isa",
    )
} | {
    "enable_prefix_caching": "--enable-prefix-caching/--no-enable-prefix-caching",
    "packed_cache": "--cache/--no-cache",
}
PLANNED_ADAPTERS = {name: settings.flag_name(name) for name in ("adapters", "adapter_rank")}
ADAPTER_FLAGS = {name: settings.flag_name(name) for name in ("max_loras", "max_lora_rank")} | PLANNED_ADAPTERS
SERVER_FLAGS = {
    "host": "--host",
    "port": "--port",
    "api_keys": "--api-key",
    "api_key_file": "--api-key-file",
    "allow_no_auth": "--allow-no-auth",
    "allowed_origins": "--allow-origin",
    "lora_folder": "--lora-folder",
    "fine_tuning": "--fine-tuning/--no-fine-tuning",
    "fine_tuning_recipe": "--fine-tuning-recipe",
    "state_folder": "--state-folder",
}


def engine_options(function: F) -> F:
    """The flags of `PlanSettings` that a command line needs."""
    return _options(PlanSettings, ENGINE_FLAGS, function)


def adapter_options(function: F) -> F:
    """Those of `PlanSettings` for commands that serve adapters."""
    return _options(PlanSettings, ADAPTER_FLAGS, function)


def planned_adapter_options(function: F) -> F:
    """Those of `PlanSettings` for commands that plan adapters and serve none."""
    return _options(PlanSettings, PLANNED_ADAPTERS, function)


def server_options(function: F) -> F:
    """The flags of `ServerSettings` that a command line needs."""
    return _options(ServerSettings, SERVER_FLAGS, function)


def settings_options(cls: type[Any], flags: Mapping[str, str]) -> Callable[[F], F]:
    """The named fields of any settings class, each as its flag."""
    return lambda function: _options(cls, flags, function)


def json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")(function)


def engine_settings(flags: Mapping[str, Any]) -> PlanSettings:
    """From file, environment and those of `flags` that belong to the engine."""
    return settings.load(SECTIONS, PlanSettings, flags=_only(flags, ENGINE_FLAGS | ADAPTER_FLAGS))


def server_settings(flags: Mapping[str, Any]) -> ServerSettings:
    """From file, environment and those of `flags` that belong to the server."""
    return settings.load(SECTIONS, ServerSettings, flags=_only(flags, SERVER_FLAGS))


def _only(flags: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {name: value for name, value in flags.items() if name in names}


def _options(cls: type[Any], flags: Mapping[str, str], function: F) -> F:
    types = settings.types_of(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for name in reversed(list(flags)):
        function = _option(fields[name], types[name], flags[name])(function)
    return function


def _option(field: dataclasses.Field[Any], hint: Any, flag: str) -> Callable[[F], F]:  # noqa: ANN401
    help_text = field.metadata.get("help", "")
    text = help_text[:1].upper() + help_text[1:]
    if field.default not in (None, (), False):
        text += f"  [default: {'on' if field.default is True else field.default}]"
    if hint is bool:
        return click.option(flag, field.name, is_flag=True, default=None, help=text)
    if get_origin(hint) is tuple:
        return click.option(flag, field.name, multiple=True, help=text)
    if get_origin(hint) is Literal:
        return click.option(flag, field.name, type=click.Choice(get_args(hint)), help=text)
    return click.option(flag, field.name, type=hint, help=text)


def read_text(path: Path) -> str:
    """A text that a user names."""
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path} is not UTF-8 text (byte {error.start}).", hint="Save it as UTF-8."
        ) from None
