"""A conversation as clients send it, and as chat templates expect it.

Content may be a text or a list of text parts; other kinds of parts are refused by name. Keys that
OpenAI does not define are handed to the template, whose author may know them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag
from pydantic_core import from_json

from fairway.errors import RequestError

# OpenAI's newer name for the same thing; templates know only "system".
ROLES = {"developer": "system"}
# Said by OpenAI about an answer; no template shows them to the model.
NOT_SHOWN = frozenset({"refusal", "audio", "annotations"})


class TextPart(BaseModel):
    """A piece of text."""

    model_config = ConfigDict(strict=True)

    type: Literal["text"]
    text: str


class OtherPart(BaseModel):
    """An image, a sound, a file: refused, because this engine reads text only."""

    model_config = ConfigDict(extra="allow")

    type: str


def _kind_of_part(part: object) -> str:
    kind = part.get("type") if isinstance(part, dict) else getattr(part, "type", None)
    return "~text" if kind == "text" else "~other"


def _kind_of_content(content: object) -> str:
    return "~parts" if isinstance(content, list) else "~text"


Part = Annotated[
    Annotated[TextPart, Tag("~text")] | Annotated[OtherPart, Tag("~other")], Discriminator(_kind_of_part)
]
Content = Annotated[
    Annotated[str, Tag("~text")] | Annotated[list[Part], Tag("~parts")], Discriminator(_kind_of_content)
]


class FunctionCall(BaseModel):
    """Which function an assistant called, with its arguments as JSON."""

    model_config = ConfigDict(strict=True)

    name: str
    arguments: str | dict[str, Any]


class ToolCall(BaseModel):
    """One call of an earlier answer."""

    model_config = ConfigDict(strict=True, extra="allow")

    id: str | None = None
    type: Literal["function"] = "function"
    function: FunctionCall


class Message(BaseModel):
    """One turn of the conversation."""

    model_config = ConfigDict(strict=True, extra="allow")

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Content | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None


class ToolFunction(BaseModel):
    """What a model may call; `parameters` is a JSON Schema."""

    model_config = ConfigDict(strict=True, extra="allow")

    name: str = Field(min_length=1, max_length=256)
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(BaseModel):
    """A function offered to the model."""

    model_config = ConfigDict(strict=True, extra="allow")

    type: Literal["function"]
    function: ToolFunction


def for_template(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The conversation in the form templates are written for."""
    return [_plain(message, f"messages[{at}]") for at, message in enumerate(messages)]


def _plain(message: Message, path: str) -> dict[str, Any]:
    plain: dict[str, Any] = {
        key: value
        for key, value in (message.model_extra or {}).items()
        if key not in NOT_SHOWN and value is not None
    }
    plain["role"] = ROLES.get(message.role, message.role)
    plain["content"] = _text(message, path)
    if message.name is not None:
        plain["name"] = message.name
    if message.tool_call_id is not None:
        plain["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        plain["tool_calls"] = [_call(call) for call in message.tool_calls]
    return plain


def _text(message: Message, path: str) -> str:
    if message.content is None:
        if message.role != "assistant":
            raise RequestError(f"The field {path}.content is missing.", param=f"{path}.content")
        return ""
    if isinstance(message.content, str):
        return message.content
    texts = []
    for at, part in enumerate(message.content):
        if not isinstance(part, TextPart):
            where = f"{path}.content[{at}]"
            raise RequestError(
                f"{where} is of type {part.type[:40]!r}, which this server cannot read.",
                hint="Only text parts are supported.",
                param=f"{where}.type",
            )
        texts.append(part.text)
    return "\n".join(texts)


def _call(call: ToolCall) -> dict[str, Any]:
    """Templates print arguments as JSON themselves, so they get the object, not its text."""
    arguments: Any = call.function.arguments
    if isinstance(arguments, str):
        try:
            parsed = from_json(arguments, allow_inf_nan=False)
        except ValueError:
            parsed = None
        arguments = parsed if isinstance(parsed, dict) else arguments
    function = {"name": call.function.name, "arguments": arguments}
    return {"id": call.id, "type": call.type, "function": function}
