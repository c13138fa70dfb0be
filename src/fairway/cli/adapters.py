"""`--lora NAME=PATH` of the commands that serve: which adapter goes to which model, and loading them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fairway.errors import UnsupportedError, UsageError

if TYPE_CHECKING:
    from fairway.cli.screen import Screen
    from fairway.map.settings import PlanSettings
    from fairway.runtimes.protocol import Runtime

F = TypeVar("F", bound=Callable[..., Any])


def lora_option(function: F) -> F:
    return click.option(
        "--lora",
        "loras",
        multiple=True,
        metavar="[MODEL:]NAME=PATH",
        help="Serve the adapter at PATH (PEFT's LoRA or prefix, or a GGUF file) as NAME; again for more.",
    )(function)


def parse_loras(loras: Sequence[str], models: Sequence[str]) -> list[tuple[str, str, Path]]:
    """(model, name, path) of each; the model may be left out where there is one."""
    return [_parse(lora, models) for lora in loras]


def _parse(lora: str, models: Sequence[str]) -> tuple[str, str, Path]:
    name, _, path = lora.partition("=")
    if not name or not path:
        raise UsageError(f"--lora is {lora!r}.", hint="Write NAME=PATH, for example poet=./poet-lora.")
    for model in models:
        if name.startswith(f"{model}:"):
            return model, name[len(model) + 1 :], Path(path)
    if len(models) > 1:
        raise UsageError(
            f"--lora {name} names none of several models.", hint=f"Write {models[0]}:{name}={path}"
        )
    return models[0], name, Path(path)


def with_room(settings: PlanSettings, loras: Sequence[str]) -> PlanSettings:
    """Settings that keep memory for these adapters, of the largest rank among them."""
    from fairway.formats.lora_open import stated_rank

    paths = [Path(path) for lora in loras if (path := lora.partition("=")[2])]
    ranks = [rank for path in paths if path.exists() and (rank := stated_rank(path))]
    count = max(settings.adapters, len(ranks))
    return replace(settings, adapters=count, adapter_rank=max([settings.adapter_rank, *ranks]))


def adapted(runtime: Runtime, lora: str, screen: Screen) -> Runtime:
    """The runtime as it answers with the adapter of `[NAME=]PATH`."""
    from fairway.runtimes.adapted import AdaptedRuntime

    name, _, path = (lora if "=" in lora and not Path(lora).exists() else f"={lora}").partition("=")
    if runtime.adapters is None:
        raise UnsupportedError("This model takes no adapters.", hint="Merge it: fairway convert --adapter.")
    name = name or Path(path).name
    with screen.step(f"Loaded the adapter {name}"):
        return AdaptedRuntime(runtime, runtime.adapters.load(name, Path(path)))


def load_loras(
    loras: Sequence[tuple[str, str, Path]], runtimes: Mapping[str, Runtime], screen: Screen
) -> None:
    """Each into its model."""
    from fairway.server.model_table import ModelTable

    table = ModelTable(runtimes)
    for model, name, path in loras:
        with screen.step(f"Loaded the adapter {name}"):
            table.load_adapter(name, path, model)
