"""The shapes that examples come in: which names tell one, and how it becomes a row.

A table: the first shape whose names a row has is its shape, and a file has one shape; only texts and
conversations may be in one file. To add a shape, add a line and its function.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from fairway.tune.messages import messages_of, tools_of
from fairway.tune.rows import (
    ASSISTANT,
    ChatRow,
    KtoRow,
    Message,
    Messages,
    PreferenceRow,
    PromptRow,
    Row,
    RowError,
    TextRow,
)

Record: TypeAlias = Mapping[str, Any]
TRUE, FALSE = (True, 1, "true", "1", "yes"), (False, 0, "false", "0", "no")
# How Anthropic's preference data writes a conversation in one text.
TRANSCRIPT = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")
SPEAKERS = {"Human": "user", "Assistant": ASSISTANT}


@dataclass(frozen=True)
class Shape:
    """One way to write an example."""

    name: str
    objective: str
    """"text", "chat", "preference", "kto" or "prompt": the type of its rows."""
    keys: tuple[str, ...]
    """A row with all of these has this shape."""
    row: Callable[[Record], Row]
    """Raises `RowError`."""


def _text(record: Record) -> Row:
    text = record["text"]
    if not isinstance(text, str) or not text.strip():
        raise RowError("content", "text is empty." if text == "" else "text is no text.")
    return TextRow(text)


def _messages(name: str) -> Callable[[Record], Row]:
    def row(record: Record) -> Row:
        functions = record.get("functions")
        tools = tools_of(record.get("tools")) or tools_of(functions, "functions")
        return ChatRow(_with_system(record, messages_of(record[name], name)), tools)

    return row


def _pair(prompt: str, completion: str) -> Callable[[Record], Row]:
    def row(record: Record) -> Row:
        asked = _prompt(record, prompt)
        return ChatRow((*asked, *_answer(record, completion)), tools_of(record.get("tools")))

    return row


def _alpaca(record: Record) -> Row:
    return ChatRow((*_instruction(record), *_answer(record, "output")))


def _instructed_preference(record: Record) -> Row:
    return PreferenceRow(_instruction(record), _answer(record, "chosen"), _answer(record, "rejected"))


def _preference(prompt: str) -> Callable[[Record], Row]:
    def row(record: Record) -> Row:
        tools = tools_of(record.get("tools"))
        return PreferenceRow(
            _prompt(record, prompt), _answer(record, "chosen"), _answer(record, "rejected"), tools
        )

    return row


def _openai_preference(record: Record) -> Row:
    asked = record["input"]
    if not isinstance(asked, Mapping) or "messages" not in asked:
        raise RowError("shape", "input must be an object with messages.")
    prompt = messages_of(asked["messages"], "input.messages")
    better, worse = (_answer(record, name) for name in ("preferred_output", "non_preferred_output"))
    return PreferenceRow(prompt, better, worse, tools_of(asked.get("tools"), "input.tools"))


def _whole_preference(chosen: str, rejected: str) -> Callable[[Record], Row]:
    """Both conversations are written in full; what they share is the prompt."""

    def row(record: Record) -> Row:
        better, worse = (_conversation(record[name], name) for name in (chosen, rejected))
        shared = _num_shared(better, worse)
        if shared == 0 or shared in (len(better), len(worse)):
            raise RowError(
                "shape", f"{chosen} and {rejected} do not begin with the same prompt and then differ."
            )
        return PreferenceRow(better[:shared], better[shared:], worse[shared:], tools_of(record.get("tools")))

    return row


def _asked(record: Record) -> Row:
    return PromptRow(_prompt(record, "prompt"), tools_of(record.get("tools")))


def _judged(record: Record) -> Row:
    label = _label(record["label"])
    return KtoRow(
        _prompt(record, "prompt"), _answer(record, "completion"), label, tools_of(record.get("tools"))
    )


def _judged_messages(record: Record) -> Row:
    messages = messages_of(record["messages"], "messages")
    if messages[-1].role != ASSISTANT or len(messages) == 1:
        raise RowError("role-order", "the messages do not end with the answer that is judged.")
    return KtoRow(messages[:-1], messages[-1:], _label(record["label"]), tools_of(record.get("tools")))


# The first that fits is taken: what names more stands before what names less.
SHAPES: tuple[Shape, ...] = (
    Shape("OpenAI preference", "preference", ("input", "preferred_output", "non_preferred_output"),
          _openai_preference),
    Shape("Alpaca preference", "preference", ("instruction", "chosen", "rejected"), _instructed_preference),
    Shape("preference", "preference", ("prompt", "chosen", "rejected"), _preference("prompt")),
    Shape("preference", "preference", ("question", "chosen", "rejected"), _preference("question")),
    Shape("ShareGPT preference", "preference", ("conversations", "chosen", "rejected"),
          _preference("conversations")),
    Shape("preference of whole conversations", "preference", ("chosen_messages", "rejected_messages"),
          _whole_preference("chosen_messages", "rejected_messages")),
    Shape("preference of whole conversations", "preference", ("chosen", "rejected"),
          _whole_preference("chosen", "rejected")),
    Shape("KTO", "kto", ("prompt", "completion", "label"), _judged),
    Shape("KTO messages", "kto", ("messages", "label"), _judged_messages),
    Shape("OpenAI messages", "chat", ("messages",), _messages("messages")),
    Shape("ShareGPT", "chat", ("conversations",), _messages("conversations")),
    Shape("Alpaca", "chat", ("instruction", "output"), _alpaca),
    Shape("prompt and completion", "chat", ("prompt", "completion"), _pair("prompt", "completion")),
    Shape("prompt and response", "chat", ("prompt", "response"), _pair("prompt", "response")),
    Shape("question and answer", "chat", ("question", "answer"), _pair("question", "answer")),
    Shape("plain text", "text", ("text",), _text),
    Shape("prompts without answers", "prompt", ("prompt",), _asked),
)  # fmt: skip


def shape_of(record: Record) -> Shape:
    """Raises `RowError` naming the row's keys and the shapes there are."""
    for shape in SHAPES:
        if all(key in record for key in shape.keys):
            return shape
    known = "; ".join(", ".join(shape.keys) for shape in SHAPES)
    keys = ", ".join(map(repr, list(record)[:12])) or "nothing"
    raise RowError("shape", f"the keys {keys} are of no known shape.", hint=f"Known are: {known}.")


def row_of(shape: Shape, record: Record) -> Row:
    """Raises `RowError` also where the row lacks what the shape needs."""
    missing = [key for key in shape.keys if key not in record]
    if len(missing) == len(shape.keys):
        other = next((each for each in SHAPES if all(key in record for key in each.keys)), shape)
        if {shape.objective, other.objective} == {"text", "chat"}:
            return other.row(record)
    if missing:
        raise RowError("shape", f"{', '.join(missing)} is missing; the file's first row is {shape.name}.")
    return shape.row(record)


def _instruction(record: Record) -> Messages:
    parts = [_plain(record, "instruction"), _plain(record, "input") if record.get("input") else ""]
    user = Message("user", "\n".join(part for part in parts if part))
    return _with_system(record, (*_history(record.get("history")), user))


def _history(value: object) -> Messages:
    """Earlier questions with their answers, as pairs."""
    found: list[Message] = []
    for at, pair in enumerate(value if isinstance(value, list) else []):
        if not isinstance(pair, Sequence) or [type(each) for each in pair] != [str, str]:
            raise RowError("shape", f"history[{at}] is no pair of texts.")
        found += [Message("user", pair[0]), Message(ASSISTANT, pair[1])]
    return tuple(found)


def _with_system(record: Record, messages: Messages) -> Messages:
    """A system text beside the conversation is its first message."""
    system = record.get("system")
    return (Message("system", system), *messages) if isinstance(system, str) and system else messages


def _prompt(record: Record, name: str) -> Messages:
    if isinstance(record[name], str):
        return _with_system(record, (Message("user", _plain(record, name)),))
    return _with_system(record, messages_of(record[name], name))


def _answer(record: Record, name: str) -> Messages:
    if isinstance(record[name], str):
        if not record[name].strip():
            raise RowError("empty-answer", f"{name} is empty.")
        return (Message(ASSISTANT, record[name]),)
    messages = messages_of(record[name], name)
    if not any(each.role == ASSISTANT for each in messages):
        raise RowError("role", f"{name} holds no message of the assistant.")
    return messages


def _conversation(value: object, name: str) -> Messages:
    if not isinstance(value, str):
        return messages_of(value, name)
    parts = TRANSCRIPT.split(value)
    if len(parts) < 5 or parts[0].strip():
        raise RowError("shape", f"{name} has no prompt: a prompt of its own, or Human: and Assistant: turns.")
    found = zip(parts[1::2], parts[2::2], strict=True)
    messages = tuple(Message(SPEAKERS[who], said.strip()) for who, said in found)
    if not messages[-1].content:
        raise RowError("empty-answer", f"{name} ends with an empty assistant turn.")
    return messages


def _num_shared(better: Messages, worse: Messages) -> int:
    """How many messages both begin with; the last of each is an answer, whatever it says."""
    most = min(len(better), len(worse)) - 1
    return next((at for at in range(most) if better[at] != worse[at]), most)


def _plain(record: Record, name: str) -> str:
    value = record.get(name, "")
    if not isinstance(value, str):
        raise RowError("content", f"{name} is a {type(value).__name__}, not text.")
    return value


def _label(value: object) -> bool:
    value = value.strip().lower() if isinstance(value, str) else value
    if value in TRUE or value in FALSE:
        return value in TRUE
    raise RowError("content", f"label is {value!r}; it can be true or false.")
