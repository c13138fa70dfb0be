"""Writes docs/reference/ from the program itself: commands, settings and the HTTP API.

    python docs/make_reference.py

The tests fail when a page is not what this script would write.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click

from fairway.cli.main import COMMANDS, LazyGroup
from fairway.cli.options import SECTIONS
from fairway.server.app import OPERATIONS
from fairway.server.openapi import openapi_document
from fairway.settings import types_of

REFERENCE = Path(__file__).parent / "reference"
NOTE = "Made by `docs/make_reference.py`; the tests compare it with the program.\n"


def commands_page() -> str:
    """Every command with its own help."""
    group = LazyGroup("fairway")
    context = click.Context(group, info_name="fairway", terminal_width=100)
    parts = ["# Commands\n", NOTE]
    for name in COMMANDS:
        command = group.get_command(context, name)
        assert command is not None
        parts += _command_parts(command, context, name)
    return "\n".join(parts)


def _command_parts(command: click.Command, parent: click.Context, name: str) -> list[str]:
    """The help of a command, then of those under it."""
    settings = command.context_settings
    context = click.Context(command, parent=parent, info_name=name, terminal_width=100, **settings)
    parts = [f"## {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"]
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            child = command.get_command(context, each)
            assert child is not None
            parts += _command_parts(child, context, each)
    return parts


def settings_page() -> str:
    """Every setting with its places and default."""
    parts = [
        "# Settings\n",
        NOTE,
        "A setting comes from the file `~/.config/fairway/config.toml` (or the one that `FAIRWAY_CONFIG`\n"
        "names), is overruled by the environment, and that by a flag. An unknown name is an error.\n",
    ]
    for section, cls in SECTIONS.items():
        kinds = types_of(cls)
        parts.append(f"## [{section}]\n\n| key | environment | default | what it is |\n|---|---|---|---|")
        parts += [_setting_row(section, field, kinds[field.name]) for field in dataclasses.fields(cls)]
        parts.append("")
    return "\n".join(parts)


def _setting_row(section: str, field: dataclasses.Field[Any], kind: Any) -> str:  # noqa: ANN401
    variable = f"FAIRWAY_{section}_{field.name}".upper()
    default = "none" if field.default in (None, ()) else str(field.default)
    choices = f": {', '.join(get_args(kind))}" if get_origin(kind) is Literal else ""
    return f"| `{field.name}` | `{variable}` | {default} | {field.metadata['help']}{choices} |"


def http_page() -> str:
    """Every route, and every field of the requests; `/docs` of a running server shows the rest."""
    document = openapi_document(OPERATIONS, has_keys=False)
    parts = ["# HTTP API\n", NOTE, "A running server describes itself at `/docs` and `/openapi.json`.\n"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts.append(f"## {method.upper()} {path}\n\n{operation.get('summary', '').rstrip('.')}.\n")
            parts += _fields_of(operation, document["components"]["schemas"])
    return "\n".join(parts)


def _fields_of(operation: dict[str, Any], schemas: dict[str, Any]) -> list[str]:
    content = operation.get("requestBody", {}).get("content", {})
    if "application/json" not in content:
        return []
    name = content["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
    rows = ["| field | type | default | what it is |", "|---|---|---|---|"]
    required = schemas[name].get("required", [])
    for field, schema in schemas[name]["properties"].items():
        default = "required" if field in required else schema.get("default")
        text = schema.get("description", "").replace("\n", " ").replace("|", "\\|")
        rows.append(f"| `{field}` | {_kind(schema)} | {'' if default is None else default} | {text} |")
    return [*rows, ""]


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rsplit("/", 1)[1])
    if "anyOf" in schema:
        kinds = [_kind(each) for each in schema["anyOf"] if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{each}`" for each in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return str(schema.get("type", "any"))


PAGES = {"commands.md": commands_page, "settings.md": settings_page, "http.md": http_page}


def main() -> None:
    REFERENCE.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
