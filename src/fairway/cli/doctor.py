"""`fairway doctor`: machine, installation and what is wrong; `--production`: six boxes with evidence."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import click

from fairway.cli.options import HELP, SECTIONS, json_option
from fairway.cli.screen import screen_for
from fairway.errors import FairwayError, UsageError

if TYPE_CHECKING:
    from fairway.map.doctor import Finding
    from fairway.map.production import Box

URL = "http://127.0.0.1:8000"
MARKS = {
    "ok": ("✓", "green"),
    "note": ("·", "white"),
    "wrong": ("✗", "red"),
    "done": ("✓", "green"),
    "partly": ("◐", "yellow"),
    "missing": ("✗", "red"),
}
WIDTH = 18


@click.command(context_settings=HELP)
@click.option("--measure", is_flag=True, help="Measure this machine's limits again; a few seconds.")
@click.option("--production", is_flag=True, help="What a service in production needs, and what is there.")
@click.option("--url", help=f"The server that --production asks. [default: {URL}]")
@click.option("--api-key", help="A key of that server, if it asks for one.")
@json_option
def doctor(measure: bool, production: bool, url: str | None, api_key: str | None, as_json: bool) -> int:
    """Say what this machine and this installation can do, what is wrong, and how to set it right.

    Ends with 1 if something is wrong.
    """
    if production:
        return _production(_server(url or URL), api_key, as_json)
    if url is not None or api_key is not None:
        raise UsageError("--url and --api-key are for --production.", hint="fairway doctor --production")
    findings = _findings(measure, as_json)
    if as_json:
        click.echo(json.dumps([each.to_dict() for each in findings], indent=1))
    else:
        _print(findings)
    return 1 if any(each.state == "wrong" for each in findings) else 0


def _server(url: str) -> str:
    """Raises `UsageError` for what is no address of a server."""
    from urllib.parse import urlsplit

    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port):
            return url
    raise UsageError(f"--url {url} is no address of a server.", hint=f"For example {URL}.")


def _findings(measure: bool, as_json: bool) -> list[Finding]:
    from fairway.kernels.extension import native_isas
    from fairway.map.doctor import installation_findings, machine_findings
    from fairway.map.gpus import read_gpus
    from fairway.map.known_limits import known_limits, measure_and_keep
    from fairway.map.probe import probe
    from fairway.map.settings import PlanSettings

    screen, machine = screen_for(as_json), probe()
    if measure and native_isas():
        with screen.step("Measured this machine"):
            measure_and_keep(machine)
    gpus = read_gpus(machine.system)
    found = [*machine_findings(machine, gpus, known_limits(machine))]
    return [*found, *installation_findings(PlanSettings().packed_folder), *_settings(), _catalogue()]


def _settings() -> list[Finding]:
    """Every section, as commands read them."""
    from fairway import settings
    from fairway.map.doctor import Finding

    for cls in SECTIONS.values():
        try:
            settings.load(SECTIONS, cls)
        except FairwayError as error:
            return [Finding("installation", "settings", "wrong", error.message, error.hint or "")]
    return [Finding("installation", "settings", "ok", "file and environment are understood")]


def _catalogue() -> Finding:
    from fairway.map.catalogue import load_catalogue
    from fairway.map.doctor import Finding

    try:
        catalogue = load_catalogue()
    except FairwayError as error:
        return Finding("installation", "catalogue", "wrong", error.message, error.hint or "")
    text = f"{len(catalogue.tools)} tools, {len(catalogue.hardware)} devices, {len(catalogue.prices)} prices"
    return Finding("installation", "catalogue", "ok", text)


def _print(findings: list[Finding]) -> None:
    groups = dict.fromkeys(each.group for each in findings)
    for group in groups:
        click.secho(group.capitalize(), bold=True)
        for each in findings:
            if each.group == group:
                _line(each.state, each.name, each.text, each.fix)
    wrong = sum(each.state == "wrong" for each in findings)
    click.echo(
        f"\n{wrong} thing{'' if wrong == 1 else 's'} to set right." if wrong else "\nNothing is wrong."
    )


def _production(url: str, api_key: str | None, as_json: bool) -> int:
    from fairway.map.production import asker, checklist

    boxes = checklist(asker(url, api_key), url.rstrip("/"))
    if as_json:
        click.echo(json.dumps([each.to_dict() for each in boxes], indent=1))
    else:
        _print_boxes(boxes)
    return 0


def _print_boxes(boxes: list[Box]) -> None:
    for box in boxes:
        _line(box.state, box.name, f"{box.asks}: {box.evidence}", f"lacks: {box.lacks}" if box.lacks else "")
    done = sum(box.state == "done" for box in boxes)
    click.echo(f"\n{done} of {len(boxes)} boxes are ticked.")


def _line(state: str, name: str, text: str, fix: str) -> None:
    mark, colour = MARKS[state]
    click.echo(f"  {click.style(mark, fg=colour)} {name.ljust(WIDTH)}{text}")
    if fix:
        click.secho(f"    {' ' * WIDTH}{fix}", dim=True)
