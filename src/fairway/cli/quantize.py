"""`fairway quantize SRC --to TYPE`, or `--auto` with a goal: smaller weights in one GGUF file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fairway.cli.convert import carry_out
from fairway.cli.gate_flags import bar_options, gate_of
from fairway.cli.options import HELP, json_option
from fairway.errors import UsageError

AUTO_ONLY = ("budget", "quality", "text", "page")


@click.command(context_settings=HELP)
@click.argument("source")
@click.option("--to", "stored", help="Q8_0, Q6_K, Q5_K_M, Q4_K_M, Q4_0, IQ4_NL, Q2_K, ...")
@click.option("--auto", is_flag=True, help="Measure this model and choose a type for each matrix.")
@click.option("--budget", metavar="SIZE", help="With --auto: the best file of at most that size, like 6GB.")
@click.option(
    "--quality", type=float, metavar="KL", help="With --auto: the smallest file within that KL divergence."
)
@click.option("--text", type=click.Path(path_type=Path), help="With --auto: judge by this text of yours.")
@click.option(
    "--html", "page", type=click.Path(path_type=Path), help="With --auto: write a report with a plot."
)
@click.option("--out", type=click.Path(path_type=Path), help="Where to write. [default: SOURCE-TYPE.gguf]")
@click.option("--requantize", is_flag=True, help="Round weights again that were quantised before.")
@bar_options
@click.option("--accept", metavar="REASON", help="Publish although a check fails; recorded with your name.")
@click.option("--force", is_flag=True, help="Replace what is there.")
@click.option("--dry-run", is_flag=True, help="Check everything and say what would be written.")
@json_option
def quantize(
    source: str,
    stored: str | None,
    auto: bool,
    dry_run: bool,
    as_json: bool,
    **flags: Any,  # noqa: ANN401
) -> None:
    """Quantise SOURCE, a folder, a GGUF or safetensors file or a hub id, to a GGUF file of a type or mix.

    From floats it is one pass, no file lies between. Every tensor's error is measured from what was written.
    With --auto, size, speed and quality of the usual mixes are measured on this machine and shown, and the
    model gets a mix of its own that reaches the goal: --budget or --quality.
    """
    from fairway.convert.settings import ConvertSettings
    from fairway.quantize.plan import known_mix

    own = {name: flags.pop(name) for name in AUTO_ONLY}
    bar = {name: flags.pop(name) for name in ("validation", "require", "metric")}
    _check(stored, auto, own)
    if auto and any(bar.values()):
        raise UsageError(
            "--validation goes with --to.", hint="Score what --auto made: fairway gate DATA SOURCE FILE."
        )
    if not auto:
        gate = gate_of(bar, stored or "")
        settings = ConvertSettings(to="gguf", type=known_mix(stored or ""), **flags)
        carry_out(source, settings, dry_run=dry_run, as_json=as_json, gate=gate)
        return
    from fairway.cli.quantize_auto import Wish, carry_out_auto

    carry_out_auto(source, flags, Wish(**own), dry_run=dry_run, as_json=as_json)


def _check(stored: str | None, auto: bool, own: dict[str, Any]) -> None:
    if auto == (stored is not None):
        raise UsageError(
            "Say one of --to and --auto." if auto else "There is no type to quantise to.",
            hint="--to Q4_K_M names a type; --auto --budget 6GB or --auto --quality 0.01 finds one.",
        )
    given = [name for name, value in own.items() if value is not None]
    if given and not auto:
        flag = "html" if given[0] == "page" else given[0]
        raise UsageError(f"--{flag} goes with --auto.", hint="Add --auto, and leave out --to.")
