"""A conversation as clients send it, and as chat templates expect it.

Content may be a text or a list of text parts; other kinds of parts are refused by name. Keys that
OpenAI does not define are handed to the template, whose author may know them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, WrapValidator
from pydantic_core import from_json

from fairway.errors import RequestError
from fairway.server.validation import must_be

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


def _text_or_list(content: object) -> object:
    if not isinstance(content, str | list):
        raise must_be("a text or a list of text parts")
    return content


def _kind_of_content(content: object) -> str:
    return "~parts" if isinstance(content, list) else "~text"


Part = Annotated[
    Annotated[TextPart, Tag("~text")] | Annotated[OtherPart, Tag("~other")], Discriminator(_kind_of_part)
]
Content = Annotated[
    Annotated[str, Tag("~text")] | Annotated[list[Part], Tag("~parts")],
    Discriminator(_kind_of_content),
    BeforeValidator(_text_or_list),
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


def _as_given(value: Any, check: Callable[[Any], Any]) -> Any:  # noqa: ANN401
    """Checked, but kept as it came: templates print tools as JSON, and the order of keys is text."""
    check(value)
    return value


if TYPE_CHECKING:
    GivenTool: TypeAlias = dict[str, Any]
    GivenToolCall: TypeAlias = dict[str, Any]
else:
    GivenTool = Annotated[Tool, WrapValidator(_as_given)]
    GivenToolCall = Annotated[ToolCall, WrapValidator(_as_given)]


class Message(BaseModel):
    """One turn of the conversation."""

    model_config = ConfigDict(strict=True, extra="allow")

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Content | None = None
    name: str | None = None
    tool_calls: list[GivenToolCall] | None = None
    tool_call_id: str | None = None


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
    plain["content"] = _content(message, path)
    if message.name is not None:
        plain["name"] = message.name
    if message.tool_call_id is not None:
        plain["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        plain["tool_calls"] = [_call(call) for call in message.tool_calls]
    return plain


def _content(message: Message, path: str) -> str | list[dict[str, str]]:
    """Parts stay parts: the runtime knows whether the template takes them or wants one text."""
    if message.content is None:
        if message.role != "assistant":
            raise RequestError(f"The field {path}.content is missing.", param=f"{path}.content")
        return ""
    if isinstance(message.content, str):
        return message.content
    parts = []
    for at, part in enumerate(message.content):
        if not isinstance(part, TextPart):
            where = f"{path}.content[{at}]"
            raise RequestError(
                f"{where} is of type {part.type[:40]!r}, which this server cannot read.",
                hint="Only text parts are supported.",
                param=f"{where}.type",
            )
        parts.append({"type": "text", "text": part.text})
    return parts


def _call(call: dict[str, Any]) -> dict[str, Any]:
    """Templates print arguments as JSON themselves, so they get the object, not its text."""
    function = call["function"]
    arguments = function["arguments"]
    if not isinstance(arguments, str):
        return call
    try:
        parsed = from_json(arguments, allow_inf_nan=False)
    except ValueError:
        return call
    return {**call, "function": {**function, "arguments": parsed}} if isinstance(parsed, dict) else call
