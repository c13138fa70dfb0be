"""`fairway lora`: the adapters of a running server, listed, loaded and unloaded."""

from __future__ import annotations

import json
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import click

from fairway.cli.options import HELP, json_option
from fairway.errors import FairwayError, RequestError, UsageError

TIMEOUT_S = 600
URL = click.option(
    "--url", default="http://127.0.0.1:8000", show_default=True, help="Where the server answers."
)
KEY = click.option("--api-key", help="A key of the server, if it asks for one.")


@click.group(context_settings=HELP)
def lora() -> None:
    """List, load and unload the LoRA adapters of a running server.

    The server loads what lies in the folder that it was started with: fairway serve MODEL --lora-folder
    FOLDER. Adapters that are there from the start: fairway serve MODEL --lora NAME=PATH.
    """


@lora.command("list", context_settings=HELP)
@URL
@KEY
@json_option
def list_adapters(url: str, api_key: str | None, as_json: bool) -> None:
    """List the adapters that are served."""
    models = json.loads(_ask(url, api_key, "/v1/models"))["data"]
    rows = [each for each in models if each.get("parent")]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        kind = (
            f"{row['virtual_tokens']} virtual tokens" if row["virtual_tokens"] else f"rank {row['lora_rank']}"
        )
        click.echo(f"{row['id']}  on {row['parent']}, {kind}")
    if not rows:
        click.echo("No adapter is loaded.")


@lora.command(context_settings=HELP)
@click.argument("name")
@click.argument("path")
@click.option("--model", help="The base, where the server has several models.")
@click.option("--replace", is_flag=True, help="Take the place of an adapter of the same name.")
@URL
@KEY
def load(name: str, path: str, model: str | None, replace: bool, url: str, api_key: str | None) -> None:
    """Load the adapter at PATH, which is the server's and lies in its folder of adapters, as NAME."""
    body = {"lora_name": name, "lora_path": path, "load_inplace": replace, "model": model}
    click.echo(_ask(url, api_key, "/v1/load_lora_adapter", body))


@lora.command(context_settings=HELP)
@click.argument("name")
@URL
@KEY
def unload(name: str, url: str, api_key: str | None) -> None:
    """Unload the adapter NAME; its running answers finish first."""
    click.echo(_ask(url, api_key, "/v1/unload_lora_adapter", {"lora_name": name}))


def _ask(url: str, api_key: str | None, path: str, body: dict[str, Any] | None = None) -> str:
    """The answer's text. Raises what the server says in one sentence."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise UsageError(f"--url is {url!r}, which is no address.", hint="For example http://127.0.0.1:8000")
    headers = {"content-type": "application/json"} | ({"x-api-key": api_key} if api_key else {})
    data = None if body is None else json.dumps(body).encode()
    request = Request(url.rstrip("/") + path, data, headers)
    try:
        with urlopen(request, timeout=TIMEOUT_S) as answer:
            return str(answer.read().decode())
    except HTTPError as error:
        raise RequestError(_message(error)) from None
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise FairwayError(f"Nothing answers at {url}: {reason}.", hint="Name it with --url.") from None


def _message(error: HTTPError) -> str:
    try:
        return str(json.loads(error.read())["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"The server answered {error.code} {error.reason}."
