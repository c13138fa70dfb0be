"""The data that Ollama hands to its templates, as one table of Go types.

The interpreter builds its values from the table, the compiler to Jinja takes its types from it. A field
is named as templates name it, with the key that it has in JSON (Ollama's and OpenAI's are the same).
Names and order follow Ollama's template package, since templates print these values as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["text", "number", "bool", "any", "list", "map", "struct", "types"]
"""types: JSON Schema's "type", one name or several; it prints as the name, or as [several names]."""


@dataclass(frozen=True)
class Type:
    kind: Kind
    of: Type | None = None
    """list, map: the type of what it holds."""
    name: str = ""
    """struct: its name in STRUCTS."""
    prints_json: bool = False
    """Printed as JSON; other lists and maps print as Go prints them."""


@dataclass(frozen=True)
class Field:
    name: str
    key: str
    type: Type
    omits_empty: bool = False


TEXT, NUMBER, BOOL, ANY = Type("text"), Type("number"), Type("bool"), Type("any")
TYPES = Type("types")
TEXTS, ANYS = Type("list", TEXT), Type("list", ANY)
MESSAGE, TOOL = Type("struct", name="Message"), Type("struct", name="Tool", prints_json=True)
PROPERTY = Type("struct", name="Property")
PROPERTIES = Type("map", PROPERTY, prints_json=True)
ARGUMENTS = Type("map", ANY, prints_json=True)
FUNCTION = Type("struct", name="Function", prints_json=True)
PARAMETERS = Type("struct", name="Parameters", prints_json=True)

STRUCTS: Mapping[str, tuple[Field, ...]] = {
    "Message": (
        Field("Role", "role", TEXT),
        Field("Content", "content", TEXT),
        Field("Thinking", "thinking", TEXT),
        Field("Images", "images", ANYS),
        Field("ToolCalls", "tool_calls", Type("list", Type("struct", name="ToolCall"))),
        Field("ToolName", "tool_name", TEXT),
        Field("ToolCallID", "tool_call_id", TEXT),
    ),
    "ToolCall": (
        Field("ID", "id", TEXT),
        Field("Function", "function", Type("struct", name="CalledFunction")),
    ),
    "CalledFunction": (
        Field("Index", "index", NUMBER),
        Field("Name", "name", TEXT),
        Field("Arguments", "arguments", ARGUMENTS),
    ),
    "Tool": (
        Field("Type", "type", TEXT),
        Field("Items", "items", ANY, omits_empty=True),
        Field("Function", "function", FUNCTION),
    ),
    "Function": (
        Field("Name", "name", TEXT),
        Field("Description", "description", TEXT),
        Field("Parameters", "parameters", PARAMETERS),
    ),
    "Parameters": (
        Field("Type", "type", TEXT),
        Field("Defs", "$defs", ANY, omits_empty=True),
        Field("Items", "items", ANY, omits_empty=True),
        Field("Required", "required", TEXTS, omits_empty=True),
        Field("Properties", "properties", PROPERTIES),
    ),
    "Property": (
        Field("AnyOf", "anyOf", Type("list", PROPERTY), omits_empty=True),
        Field("Type", "type", TYPES, omits_empty=True),
        Field("Items", "items", ANY, omits_empty=True),
        Field("Description", "description", TEXT, omits_empty=True),
        Field("Enum", "enum", ANYS, omits_empty=True),
        Field("Properties", "properties", PROPERTIES, omits_empty=True),
        Field("Required", "required", TEXTS, omits_empty=True),
    ),
}

CHAT_DATA: Mapping[str, Type] = {
    "System": TEXT,
    "Messages": Type("list", MESSAGE),
    "Tools": Type("list", TOOL, prints_json=True),
    "Response": TEXT,
    "Think": BOOL,
    "ThinkLevel": TEXT,
    "IsThinkSet": BOOL,
}
"""What a template that reads .Messages is given."""

TURN_DATA: Mapping[str, Type] = {
    "System": TEXT,
    "Prompt": TEXT,
    "Response": TEXT,
    "Think": BOOL,
    "ThinkLevel": TEXT,
    "IsThinkSet": BOOL,
}
"""What a template without .Messages is given, once for each turn."""


def field_of(struct: str, name: str) -> Field | None:
    return next((field for field in STRUCTS[struct] if field.name == name), None)
