"""`fairway gate DATA STAGE...`: a held-out set scored through the engine: what did each hop cost?

Exit code 0 if the last stage passes what is required, 9 if it does not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from fairway.cli.gate_flags import gate_options, gate_settings
from fairway.cli.options import HELP, engine_options, engine_settings, json_option
from fairway.cli.screen import screen_for
from fairway.errors import UsageError
from fairway.tune.gate_result import FILE_NAME, GateResult


@click.command(context_settings=HELP)
@click.argument("data", type=click.Path(path_type=Path))
@click.argument("stages", nargs=-1, required=True, metavar="[NAME=]MODEL[:ADAPTER]...")
@gate_options
@click.option("--out", type=click.Path(path_type=Path), help="Write the figures: a file, or a run's folder.")
@engine_options
@json_option
def gate(data: Path, stages: tuple[str, ...], out: Path | None, as_json: bool, **flags: Any) -> int:  # noqa: ANN401
    """Score stages of a model on the held-out DATA, as they are served.

    A stage is a model, or a model with an adapter beside it: ./model:./run/adapter. The loss is the engine's
    own, answers are generated at temperature 0 with the model's chat template, and "stops" is the share of
    them that end by themselves. What is required is required of the last stage.
    """
    from fairway.cli.gating import Gating, parse_stage

    settings = gate_settings(flags)
    settings.metrics()
    wanted = [parse_stage(each) for each in stages]
    place = _place(out)
    result = Gating(data, settings, engine_settings(flags)).score(wanted, screen_for(as_json))
    if place is not None:
        write(result, place)
    tell(result, as_json=as_json)
    result.check("")
    return 0


def tell(result: GateResult, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=1, ensure_ascii=False))
        return
    from fairway.cli.gate_report import draw

    draw(result)


def write(result: GateResult, path: Path) -> None:
    from fairway.formats.atomic import atomic_file

    with atomic_file(path) as file:
        file.write((json.dumps(result.to_dict(), indent=1, ensure_ascii=False) + "\n").encode("utf-8"))


def _place(out: Path | None) -> Path | None:
    """What would only be found out after minutes of work."""
    if out is None:
        return None
    path = out / FILE_NAME if out.is_dir() else out
    if not path.absolute().parent.is_dir():
        raise UsageError(
            f"There is no folder {path.absolute().parent} for {path.name}.", hint="Make it first."
        )
    return path
