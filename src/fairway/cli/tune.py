"""`fairway tune MODEL DATA`: fine-tunes a model on a file of examples. Today it checks the data.

Exit code of --check: 0 if the data can be learned as it is, 1 if not.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.options import HELP, json_option
from fairway.cli.screen import Screen, screen_for
from fairway.errors import UnsupportedError, UsageError
from fairway.tune.settings import LEARN, TOO_LONG, DataSettings

if TYPE_CHECKING:
    from fairway.formats.bundle import Bundle
    from fairway.tune.check import CheckReport

DEFAULTS = DataSettings()
FAILED = 1


@click.command(context_settings=HELP)
@click.argument("model")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--check", "only_check", is_flag=True, help="Check the data and train nothing.")
@click.option("--validation", type=click.Path(path_type=Path), help="Held-out data; it must not be in DATA.")
@click.option("--learn", type=click.Choice(LEARN), default=DEFAULTS.learn, show_default=True,
              help="Which tokens: the assistant's turns, its last turn, or all.")  # fmt: skip
@click.option("--max-length", type=click.IntRange(min=8),
              help="Tokens of one example.  [default: what the model's context holds]")  # fmt: skip
@click.option("--too-long", type=click.Choice(TOO_LONG), default=DEFAULTS.too_long, show_default=True,
              help="What becomes of longer examples.")  # fmt: skip
@click.option("--raw", is_flag=True, help="Join prompt and completion as they are, without the template.")
@click.option("--strict", is_flag=True, help="With --check: warnings fail it too.")
@click.option("--preview", type=click.IntRange(0, 24), default=1, show_default=True,
              help="With --check: show the tokens of so many examples.")  # fmt: skip
@click.option(
    "--html", "page", type=click.Path(path_type=Path), help="With --check: write a page to look at."
)
@json_option
def tune(
    model: str, data: Path, only_check: bool, validation: Path | None, as_json: bool, **flags: Any  # noqa: ANN401
) -> int:  # fmt: skip
    """Fine-tune MODEL on DATA: JSON lines, JSON, CSV, Parquet or text, one example per row.

    Training is not in this version yet. --check reads every row as training will: its shape, the model's own
    chat template, its tokens, and which of them are learned. Exits with 1 if a row is wrong.
    """
    if not only_check:
        raise UnsupportedError(
            "Training is not in this version of Fairway yet; checking the data is.",
            hint=f"fairway tune {model} --check {data}",
        )
    page: Path | None = flags["page"]
    if page is not None and not page.absolute().parent.is_dir():
        raise UsageError(
            f"There is no folder {page.absolute().parent} for {page.name}.", hint="Make it first."
        )
    settings = DataSettings(flags["learn"], flags["max_length"], flags["too_long"], flags["raw"])
    report = _checked(model, data, validation, settings, screen_for(as_json))
    if page is not None:
        _write_page(report, page)
    if as_json:
        click.echo(json.dumps(_as_dict(report, flags), indent=1, ensure_ascii=False))
    else:
        from fairway.cli.tune_report import draw

        draw(report, num_shown=flags["preview"])
    return 0 if report.passed(strict=flags["strict"]) else FAILED


def _checked(
    model: str, data: Path, validation: Path | None, settings: DataSettings, screen: Screen
) -> CheckReport:
    from fairway.formats.open import open_bundle
    from fairway.registry.resolve import resolve
    from fairway.tune.check import check
    from fairway.tune.dataset import open_dataset
    from fairway.tune.encode import encoder_for

    with screen.step(f"Found {model}", is_bytes=True) as progress:
        bundle = open_bundle(resolve(model, progress).path)
    settings = _with_length(settings, bundle, screen)
    with screen.step(f"Opened {data.name}", is_bytes=True) as progress:
        training = open_dataset(data, progress)
        held_out = None if validation is None else open_dataset(validation, progress)
    encoder = encoder_for(bundle, settings)
    if bundle.chat_template is None and not settings.raw and training.shape.objective != "text":
        screen.note(
            f"Note: {bundle.name} brings no chat template; it learns the one it would be served with."
        )
    with screen.step("Checked every row") as progress:
        return check(bundle.name, training, held_out, encoder, progress)


def _with_length(settings: DataSettings, bundle: Bundle, screen: Screen) -> DataSettings:
    from fairway.formats.summary import summarize

    context = summarize(bundle).context_length
    if settings.max_length is None:
        return replace(settings, max_length=context)
    if context is not None and settings.max_length > context:
        screen.note(
            f"Note: --max-length {settings.max_length:,} is more than the model's context, {context:,}."
        )
    return settings


def _as_dict(report: CheckReport, flags: dict[str, Any]) -> dict[str, Any]:
    files = []
    for file in report.files:
        values = asdict(file) | {"path": str(file.path), "num_errors": file.num_errors}
        values["num_warnings"] = file.num_warnings
        groups = zip(file.groups, values.pop("groups"), strict=True)
        values["findings"] = [{"level": group.level, "title": group.title, **each} for group, each in groups]
        values["shown"] = values["shown"][: flags["preview"]]
        files.append(values)
    about = {"model": report.model, "learn": report.learn, "max_length": report.max_length}
    return {"passed": report.passed(strict=flags["strict"]), **about, "files": files}


def _write_page(report: CheckReport, path: Path) -> None:
    from fairway.formats.atomic import atomic_file
    from fairway.report.data_page import data_page

    with atomic_file(path) as file:
        file.write(data_page(report).encode("utf-8"))
