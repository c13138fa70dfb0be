"""`fairway tune MODEL DATA`: checks a file of examples, or fine-tunes a model on it.

Exit code of --check: 0 if the data can be learned as it is, 1 if not.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fairway.cli.options import HELP, json_option, settings_options
from fairway.cli.screen import Screen, screen_for
from fairway.cli.tune_flags import FLAGS, check_alone, check_training, given_settings
from fairway.cli.tune_prepare import with_length
from fairway.cli.tune_train import train
from fairway.cli.tune_wanted import Wanted
from fairway.errors import UsageError
from fairway.tune.recipe import Recipe, read_recipe
from fairway.tune.settings import DataSettings
from fairway.tune.training_arguments import without_foreign

if TYPE_CHECKING:
    from fairway.tune.check import CheckReport

FAILED = 1
SHOWN = 1


class TuneCommand(click.Command):
    """Takes transformers' spelling of its flags too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = [option[2:].replace("-", "_") for each in self.params for option in each.opts]
        return super().parse_args(ctx, without_foreign(args, known))


@click.command(cls=TuneCommand, context_settings=HELP)
@click.argument("model")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--check", "only_check", is_flag=True, help="Check the data and train nothing.")
@click.option("--validation", type=click.Path(path_type=Path), help="Held-out data; it must not be in DATA.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run: its figures and its result.")
@click.option("--recipe", "recipe_file", type=click.Path(path_type=Path),
              help="TOML file with the settings below; flags override it.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with the run in --out, with its recipe.")
@click.option("--dry-run", is_flag=True, help="Try one update, say time and memory, and stop.")
@settings_options(Recipe, FLAGS)
@click.option("--price-per-hour", type=click.FloatRange(0),
              help="Of this machine; the quote then says what the training costs.")  # fmt: skip
@click.option("--accept", metavar="REASON",
              help="Publish although --require is missed; recorded with your name.")  # fmt: skip
@click.option("--strict", is_flag=True, help="With --check: warnings fail it too.")
@click.option("--preview", type=click.IntRange(0, 24),
              help=f"With --check: show the tokens of so many examples.  [default: {SHOWN}]")  # fmt: skip
@click.option(
    "--html", "page", type=click.Path(path_type=Path), help="With --check: write a page to look at."
)
@json_option
def tune(
    model: str, data: Path, only_check: bool, validation: Path | None, as_json: bool, **flags: Any  # noqa: ANN401
) -> int:  # fmt: skip
    """Fine-tune MODEL on DATA: JSON lines, JSON, CSV, Parquet or text, one example per row.

    The result is an adapter in FOLDER/adapter, or with --method full a model in FOLDER/model. --check trains
    nothing: it reads every row as training will, and exits with 1 if one is wrong.
    """
    given = given_settings(flags)
    screen = screen_for(as_json)
    if only_check:
        check_alone(flags)
        settings = read_recipe(flags["recipe_file"], given).data
        return _check((model, data, validation), settings, screen, as_json, flags)
    recipe = None if flags["resume"] else read_recipe(flags["recipe_file"], given)
    check_training(flags, recipe, is_measured=validation is not None)
    if flags["out"] is None:
        raise UsageError("Where to? --out is missing.", hint=f"fairway tune {model} {data} --out my-run")
    more = {name: flags[name] for name in ("dry_run", "accept", "price_per_hour")}
    wanted = Wanted(model, data, validation, flags["out"], recipe, as_json=as_json, **more)
    return train(wanted, screen)


def _check(
    files: tuple[str, Path, Path | None], settings: DataSettings, screen: Screen, as_json: bool,
    flags: dict[str, Any],
) -> int:  # fmt: skip
    model, data, validation = files
    flags = flags | {"preview": SHOWN if flags["preview"] is None else flags["preview"]}
    page: Path | None = flags["page"]
    if page is not None and not page.absolute().parent.is_dir():
        raise UsageError(
            f"There is no folder {page.absolute().parent} for {page.name}.", hint="Make it first."
        )
    report = _checked(model, data, validation, settings, screen)
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
    settings = with_length(settings, bundle, screen)
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
