"""`fairway convert SRC --to FORMAT`: another container or type, every tensor checked, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.options import HELP, json_option
from fairway.cli.screen import Screen, screen_for
from fairway.errors import UsageError

if TYPE_CHECKING:
    from fairway.convert.job import Conversion
    from fairway.convert.publish import Published
    from fairway.convert.settings import ConvertSettings
    from fairway.proof.verdict import Check

FORMATS = ("safetensors", "gguf", "mlx", "onnx", "openvino", "coreml", "modelfile")


@click.command(context_settings=HELP)
@click.argument("source")
@click.option("--to", required=True, type=click.Choice(FORMATS), help="What to make of it.")
@click.option(
    "--type",
    "stored_type",
    default="stored",
    help="F32, F16, BF16; a mix like Q4_K_M for GGUF; INT8, INT4 for OpenVINO and MLX.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Where to write. [default: named after SOURCE]")
@click.option("--max-shard-size", help="Split safetensors into files of this size. [default: 5GB]")
@click.option(
    "--group-size", default=64, help="Weights that share a scale, where MLX rounds them: 32, 64 or 128."
)
@click.option("--adapter", "adapters", multiple=True, type=click.Path(path_type=Path),
              help="Merge this LoRA adapter first: PEFT's folder or a GGUF file.")  # fmt: skip
@click.option("--weights-only", is_flag=True, help="Accept tensors without config and tokenizer.")
@click.option("--requantize", is_flag=True, help="Round weights again that were quantised before.")
@click.option("--accept", metavar="REASON", help="Publish although a check fails; recorded with your name.")
@click.option("--force", is_flag=True, help="Replace what is there.")
@click.option("--dry-run", is_flag=True, help="Check everything and say what would be written.")
@json_option
def convert(source: str, dry_run: bool, as_json: bool, **flags: Any) -> None:  # noqa: ANN401
    """Convert SOURCE, a folder, a file or a hub id, and check every tensor of the result.

    A conversion that is interrupted leaves nothing under the target's name; the same command continues it.
    """
    from fairway.convert.settings import ConvertSettings

    settings = ConvertSettings(
        to=flags["to"],
        type=stored_type(flags["stored_type"]),
        out=flags["out"],
        force=flags["force"],
        group_size=flags["group_size"],
        adapters=flags["adapters"],
        weights_only=flags["weights_only"],
        requantize=flags["requantize"],
        accept=flags["accept"],
    )
    if flags["max_shard_size"] is not None:
        settings = sharded(settings, flags["max_shard_size"])
    carry_out(source, settings, dry_run=dry_run, as_json=as_json)


def sharded(settings: ConvertSettings, size: str) -> ConvertSettings:
    from fairway.convert.settings import parse_size

    if settings.to != "safetensors":
        raise UsageError(
            f"--max-shard-size is for --to safetensors; {settings.to} is one file.", hint="Leave it out."
        )
    return replace(settings, max_shard_bytes=parse_size(size))


def stored_type(text: str) -> str:
    """As GGUF, safetensors and OpenVINO write types; an unknown one is named as it was typed."""
    from fairway.convert.settings import STORED
    from fairway.convert.to_openvino import TYPES
    from fairway.quantize.plan import known_mix

    if text.lower() == STORED:
        return STORED
    return text.upper() if text.upper() in TYPES else known_mix(text)


def carry_out(
    source: str,
    settings: ConvertSettings,
    *,
    dry_run: bool,
    as_json: bool,
    gate: Callable[[Path], Check] | None = None,
) -> None:
    """Finds the source, prepares the hop, runs it unless it is only to be shown, and tells the result."""
    from fairway.convert import hops

    screen = screen_for(as_json)
    conversion = replace(prepared(source, settings, screen), gate=gate)
    if dry_run:
        tell_plan(conversion, as_json)
        return
    for note in conversion.notes:
        screen.note(f"Note: {note}")
    with screen.step(f"Converted {conversion.source_name}", is_bytes=True) as progress:
        published = hops.convert(conversion, progress)
    tell_result(conversion, published, as_json)


def prepared(source: str, settings: ConvertSettings, screen: Screen) -> Conversion:
    from fairway.convert import hops
    from fairway.formats.open import open_bundle
    from fairway.registry.resolve import resolve

    with screen.step("Found the model", is_bytes=True) as progress:
        located = resolve(source, progress)
        bundle = open_bundle(located.path, complete=False)
    for warning in bundle.warnings:
        screen.note(f"Note: {warning}")
    name = located.name.rpartition("/")[2].partition(":")[0] if located.name else None
    return hops.prepare(bundle, settings, name)


def plan_dict(conversion: Conversion) -> dict[str, Any]:
    return {
        "hop": conversion.hop,
        "source": str(conversion.source.path),
        "target": str(conversion.target),
        "num_bytes": conversion.num_bytes,
        "num_tensors": len(conversion.jobs),
        "types": conversion.types,
        "lossless": conversion.is_lossless,
        "files": [file.name for file in conversion.files],
        "notes": list(conversion.notes),
    }


def tell_plan(conversion: Conversion, as_json: bool) -> None:
    from fairway.convert.preflight import size

    if as_json:
        click.echo(json.dumps(plan_dict(conversion), indent=2))
        return
    types = ", ".join(f"{name} {size(num)}" for name, num in conversion.types.items())
    kept = "every number stays as it is" if conversion.is_lossless else "numbers are rounded"
    click.echo(f"{conversion.hop}: {conversion.source.path}")
    written = f"{size(conversion.num_bytes)} in {_files(len(conversion.files))}"
    click.echo(f"would write {conversion.target}, {written}")
    click.echo(f"{len(conversion.jobs)} tensors ({types}); {kept}")
    for note in conversion.notes:
        click.echo(f"Note: {note}")


def _files(count: int) -> str:
    return "one file" if count == 1 else f"{count} files"


def tell_result(conversion: Conversion, published: Published, as_json: bool) -> None:
    from fairway.convert.preflight import size

    if as_json:
        click.echo(json.dumps(result_dict(conversion, published), indent=2))
        return
    click.echo(f"{published.path} {size(published.num_bytes)}")
    for types, row in published.tensors.items():
        click.echo(f"  {types}: {row['tensors']} tensors, {difference(row)}")
    click.echo(f"  {published.verdict.headline}")
    click.echo(f"  {published.digest}")


def result_dict(conversion: Conversion, published: Published) -> dict[str, Any]:
    """The plan and what became of it."""
    return plan_dict(conversion) | {
        "target": str(published.path),
        "num_bytes": published.num_bytes,
        "digest": published.digest,
        "source_digest": published.source_digest,
        "tensors": published.tensors,
        "proof": published.verdict.headline,
        "checks": {check.name: f"{check.status}: {check.figure}" for check in published.verdict.checks},
    }


def difference(row: dict[str, Any]) -> str:
    if row["equal"]:
        return "every number equal"
    rms = f"rms error {row['rms_error']:.3g} ({100 * row['relative_error']:.2g} %)"
    return f"{rms}, at most {row['max_error']:.3g}"
