"""`fairway quantize SRC --to TYPE`: smaller weights in one GGUF file, from a folder or from GGUF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fairway.cli.convert import carry_out
from fairway.cli.options import HELP, json_option


@click.command(context_settings=HELP)
@click.argument("source")
@click.option("--to", "stored", required=True, help="Q8_0, Q6_K, Q5_K_M, Q4_K_M, Q4_0, IQ4_NL, Q2_K, ...")
@click.option("--out", type=click.Path(path_type=Path), help="Where to write. [default: SOURCE-TYPE.gguf]")
@click.option("--requantize", is_flag=True, help="Round weights again that were quantised before.")
@click.option("--accept", metavar="REASON", help="Publish although a check fails; recorded with your name.")
@click.option("--force", is_flag=True, help="Replace what is there.")
@click.option("--dry-run", is_flag=True, help="Check everything and say what would be written.")
@json_option
def quantize(source: str, stored: str, dry_run: bool, as_json: bool, **flags: Any) -> None:  # noqa: ANN401
    """Quantise SOURCE, a folder, a GGUF or safetensors file or a hub id, to a GGUF file of a type or mix.

    From floats it is one pass, no file lies between. Every tensor's error is measured from what was written.
    """
    from fairway.convert.settings import ConvertSettings
    from fairway.quantize.plan import known_mix

    settings = ConvertSettings(to="gguf", type=known_mix(stored), **flags)
    carry_out(source, settings, dry_run=dry_run, as_json=as_json)
