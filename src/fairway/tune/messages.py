"""Turns as files spell them, OpenAI's and ShareGPT's, as `Message`s.

They end up exactly as the server hands a client's messages to the template: "developer" is "system", missing
content is "", the arguments of a call are an object. A role or a kind of content that is not known is an
error that names it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fairway.tune.rows import ASSISTANT, ROLES, Message, Messages, RowError, Tools

OPENAI_ROLES = {role: role for role in ROLES} | {"developer": "system", "function": "tool"}
SHAREGPT_ROLES = {
    "human": "user", "user": "user", "gpt": ASSISTANT, "assistant": ASSISTANT, "chatgpt": ASSISTANT,
    "model": ASSISTANT, "bot": ASSISTANT, "system": "system", "observation": "tool", "tool": "tool",
}  # fmt: skip
SHAREGPT_CALL = "function_call"
# Said about a turn, not by it. LLaMA-Factory calls the weight loss_weight.
NOT_SHOWN = frozenset({"role", "content", "weight", "loss_weight", "refusal", "audio", "annotations"})


def messages_of(value: object, name: str) -> Messages:
    """A list of turns of either spelling, or one turn alone."""
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list) or not value:
        raise RowError("shape", f"{name} must be a list of messages that is not empty.")
    return tuple(_message(each, f"{name}[{at}]") for at, each in enumerate(value))


def tools_of(value: object, name: str = "tools") -> Tools:
    """Functions in OpenAI's form; a bare function is wrapped, and a list written as JSON text is read."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        value = _json(value, name)
    if not isinstance(value, list):
        raise RowError("shape", f"{name} must be a list of functions.")
    return tuple(_tool(each, f"{name}[{at}]") for at, each in enumerate(value)) or None


def _tool(value: object, name: str) -> dict[str, Any]:
    function = value.get("function", value) if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(function, dict) or not function.get("name"):
        raise RowError("shape", f"{name} is no function with a name.")
    return value if "function" in value else {"type": "function", "function": value}


def _message(value: object, name: str) -> Message:
    if not isinstance(value, Mapping):
        raise RowError("shape", f"{name} is a {type(value).__name__}, not a message.")
    if "role" in value:
        return _openai(value, name)
    if "from" in value:
        return _sharegpt(value, name)
    raise RowError("role", f"{name} has no role.")


def _openai(value: Mapping[str, Any], name: str) -> Message:
    role = _role(value["role"], OPENAI_ROLES, name)
    more = {key: each for key, each in value.items() if key not in NOT_SHOWN and each is not None}
    if legacy := more.pop("function_call", None):
        more["tool_calls"] = [{"type": "function", "function": legacy}]
    if "tool_calls" in more and not more["tool_calls"]:
        del more["tool_calls"]
    if "tool_calls" in more:
        more["tool_calls"] = _calls(more["tool_calls"], f"{name}.tool_calls")
    content = _content(value.get("content"), f"{name}.content", required=role != ASSISTANT)
    return _checked(Message(role, content, more, _weight(value, name)), name)


def _sharegpt(value: Mapping[str, Any], name: str) -> Message:
    content = _content(value.get("value"), f"{name}.value", required=True)
    weight = _weight(value, name)
    if value["from"] == SHAREGPT_CALL:
        found = _json(content, f"{name}.value")
        calls = [
            {"type": "function", "function": each} for each in (found if isinstance(found, list) else [found])
        ]
        return Message(ASSISTANT, "", {"tool_calls": _calls(calls, f"{name}.value")}, weight)
    return _checked(Message(_role(value["from"], SHAREGPT_ROLES, name), content, {}, weight), name)


def _role(value: object, known: Mapping[str, str], name: str) -> str:
    if not isinstance(value, str) or value not in known:
        roles = ", ".join(known)
        raise RowError("role", f"{name} has the role {value!r}.", hint=f"Roles are {roles}.")
    return known[value]


def _content(value: object, name: str, *, required: bool) -> str:
    """Text, or text in parts. LLaMA-Factory spells a part's text as value."""
    if value is None and not required:
        return ""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        found = "missing" if value is None else f"a {type(value).__name__}, not text"
        raise RowError("content", f"{name} is {found}.")
    texts: list[str] = []
    for at, part in enumerate(value):
        part = part if isinstance(part, Mapping) else {}
        kind, text = part.get("type"), part.get("text", part.get("value"))
        if kind != "text" or not isinstance(text, str):
            raise RowError("content", f"{name}[{at}] is of type {kind!r}; only text can be learned.")
        texts.append(text)
    return "".join(texts)


def _weight(value: Mapping[str, Any], name: str) -> int:
    """1 where nothing is said."""
    weight = value.get("weight", value.get("loss_weight"))
    if weight is None:
        return 1
    if isinstance(weight, bool) or weight not in (0, 1):
        raise RowError("content", f"{name}.weight is {weight!r}; it can be 0 or 1.")
    return int(weight)


def _calls(value: object, name: str) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise RowError("content", f"{name} must be a list of calls.")
    return [_call(each, f"{name}[{at}]") for at, each in enumerate(value)]


def _call(value: object, name: str) -> dict[str, Any]:
    """Templates print arguments as JSON themselves, so they get the object, not its text."""
    function = value.get("function") if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping) or not isinstance(function, Mapping):
        raise RowError("content", f"{name} has no function.")
    if not isinstance(function.get("name"), str) or not function["name"]:
        raise RowError("content", f"{name}.function has no name.")
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        arguments = _json(arguments or "{}", f"{name}.function.arguments")
    if not isinstance(arguments, dict):
        raise RowError("content", f"{name}.function.arguments is no JSON object.")
    return {**value, "function": {**function, "arguments": arguments}}


def _checked(message: Message, name: str) -> Message:
    if message.role == ASSISTANT and not message.content.strip() and not message.more.get("tool_calls"):
        raise RowError("empty-answer", f"{name} is an empty assistant turn.")
    return message


def _json(text: str, name: str) -> Any:  # noqa: ANN401 (as deep as JSON goes)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise RowError("json", f"{name} is not valid JSON.") from None
