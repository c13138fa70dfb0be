"""`fairway merge MODEL ADAPTER[=WEIGHT]... --out FOLDER`: adapters become part of a 16-bit model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.convert import tell_plan, tell_result
from fairway.cli.gate_flags import bar_options, gate_of
from fairway.cli.options import HELP, json_option
from fairway.cli.screen import Screen, screen_for
from fairway.errors import UsageError

if TYPE_CHECKING:
    from fairway.convert.job import Conversion
    from fairway.convert.settings import ConvertSettings
    from fairway.formats.bundle import Bundle

MODEL_ONLY = ("dequantize", "accept", "validation", "require", "metric")
TYPES = ("stored", "bf16", "f16", "f32")


@click.command(context_settings=HELP)
@click.argument("model")
@click.argument("adapters", nargs=-1, required=True, metavar="ADAPTER[=WEIGHT]...")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write.")
@click.option("--to", type=click.Choice(("model", "adapter")), default="model", show_default=True,
              help="A model of its own, or one adapter that counts as all of them.")  # fmt: skip
@click.option("--combination", type=click.Choice(("cat", "linear")), default="cat", show_default=True,
              help="How several count: the sum of what each adds, or PEFT's linear.")  # fmt: skip
@click.option("--type", "stored_type", type=click.Choice(TYPES), default="stored", show_default=True,
              help="Of the weights; stored keeps what MODEL has.")  # fmt: skip
@click.option("--dequantize", is_flag=True, help="Merge into what quantised weights mean, in 16 bits.")
@bar_options
@click.option("--accept", metavar="REASON", help="Publish although a check fails; recorded with your name.")
@click.option("--force", is_flag=True, help="Replace what is there.")
@click.option("--dry-run", is_flag=True, help="Check everything and say what would be written.")
@json_option
def merge(model: str, adapters: tuple[str, ...], dry_run: bool, as_json: bool, **flags: Any) -> None:  # noqa: ANN401
    """Merge LoRA adapters into MODEL: PEFT's folders or GGUF files, each with how much it counts.

    A negative WEIGHT takes an adapter away. Weights keep 16 bits (32 where MODEL has 32), and the result must
    say what MODEL says with the adapters beside it, or nothing is published.
    """
    from fairway.convert.merge import prepare_merge
    from fairway.convert.settings import ConvertSettings

    pairs = [parse_weighted(each) for each in adapters]
    kind = flags["stored_type"]
    settings = ConvertSettings(
        to="safetensors",
        type=kind if kind == "stored" else kind.upper(),
        out=flags["out"],
        force=flags["force"],
        adapters=tuple(path for path, _ in pairs),
        adapter_weights=tuple(weight for _, weight in pairs),
        combination=flags["combination"],
        accept=flags["accept"],
    )
    screen = screen_for(as_json)
    bundle, name = _found(model, screen)
    if flags["to"] == "adapter":
        _to_adapter(bundle, settings, flags, dry_run=dry_run, as_json=as_json)
        return
    gate = gate_of(flags, flags["out"].name)
    conversion = prepare_merge(bundle, settings, name, dequantize=flags["dequantize"])
    _to_model(replace(conversion, gate=gate), screen, dry_run=dry_run, as_json=as_json)


def parse_weighted(text: str) -> tuple[Path, float]:
    """ "PATH" or "PATH=0.5". A path that exists as it is has no weight in it."""
    path, sign, weight = text.rpartition("=")
    if not sign or Path(text).exists():
        return Path(text), 1.0
    try:
        return Path(path), float(weight)
    except ValueError:
        raise UsageError(
            f"{weight!r} in {text!r} is no weight.", hint="Write ADAPTER=0.5, or the adapter alone."
        ) from None


def _found(model: str, screen: Screen) -> tuple[Bundle, str | None]:
    from fairway.formats.open import open_bundle
    from fairway.registry.resolve import resolve

    with screen.step("Found the model", is_bytes=True) as progress:
        located = resolve(model, progress)
        name = located.name.rpartition("/")[2].partition(":")[0] if located.name else None
        return open_bundle(located.path), name


def _to_model(conversion: Conversion, screen: Screen, *, dry_run: bool, as_json: bool) -> None:
    from fairway.convert import hops
    from fairway.convert.merge_proof import NAME

    if dry_run:
        tell_plan(conversion, as_json)
        return
    for note in conversion.notes:
        screen.note(f"Note: {note}")
    with screen.step("Merged", is_bytes=True) as progress:
        published = hops.convert(conversion, progress)
    tell_result(conversion, published, as_json)
    if not as_json:
        click.echo(f"  {NAME}: {published.verdict[NAME].figure}")


def _to_adapter(
    bundle: Bundle, settings: ConvertSettings, flags: dict[str, Any], *, dry_run: bool, as_json: bool
) -> None:
    from fairway.convert.merge import merge_adapters

    given = [name for name in MODEL_ONLY if flags[name]]
    if flags["stored_type"] != "stored" or given or dry_run:
        flag = given[0] if given else "dry-run" if dry_run else "type"
        raise UsageError(f"--{flag} is for a model, not for --to adapter.", hint="Leave it out.")
    path = merge_adapters(bundle, settings)
    click.echo(json.dumps({"target": str(path)}) if as_json else str(path))
