"""What a row's own text and order of turns can have wrong, before it is tokenised."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fairway.text.tokenizer import Tokenizer
from fairway.tune.rows import (
    ASSISTANT,
    Message,
    Messages,
    PreferenceRow,
    PromptRow,
    Row,
    TextRow,
    conversation,
)

PLACEHOLDER = re.compile(r"\{\{ *[A-Za-z_]\w* *\}\}")
ALONE = ("user", ASSISTANT)
"""Roles that do not follow themselves."""


class RowChecks:
    """`problems` of a row as (kind, message)."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        spelled = {tokenizer.token_text(each) for each in tokenizer.special_ids} - {""}
        self._control = re.compile(
            "|".join(map(re.escape, sorted(spelled, key=len, reverse=True))) or r"(?!)"
        )

    def problems(self, row: Row) -> Iterator[tuple[str, str]]:
        if isinstance(row, TextRow):
            return
        messages = conversation(row)
        if isinstance(row, PromptRow):
            yield "unanswered", ""
        else:
            yield from order_problems(messages)
        yield from self._text_problems(messages)
        if isinstance(row, PreferenceRow) and row.chosen == row.rejected:
            yield "same-answers", "chosen and rejected are the same"

    def _text_problems(self, messages: Messages) -> Iterator[tuple[str, str]]:
        for at, message in enumerate(messages):
            if found := self._control.search(message.content):
                yield "control-token", f"message {at + 1} holds {found[0]!r}"
                return
        for at, message in enumerate(messages):
            if message.role == ASSISTANT and (found := PLACEHOLDER.search(message.content)):
                yield "placeholder", f"message {at + 1} holds {found[0]!r}"
                return


def order_problems(messages: Messages) -> Iterator[tuple[str, str]]:
    """Of roles; the first warning of a row is enough."""
    yield from _tool_problems(messages)
    unusual = next(_unusual(messages), None)
    if unusual is not None:
        yield "turn-order", unusual


def _unusual(messages: Messages) -> Iterator[str]:
    roles = [each.role for each in messages]
    if next((role for role in roles if role != "system"), "") == ASSISTANT:
        yield "the assistant speaks first"
    for at, role in enumerate(roles[1:], 2):
        if role == "system" and roles[at - 2] != "system":
            yield f"message {at} is the system's, in the middle"
        if role == roles[at - 2] and role in ALONE:
            yield f"messages {at - 1} and {at} are both the {role}'s"
    if roles[-1] != ASSISTANT:
        yield f"the last message is the {roles[-1]}'s, which nobody answers"


def _tool_problems(messages: Messages) -> Iterator[tuple[str, str]]:
    """A tool's result must follow a call, and name one where both have names."""
    for at, message in enumerate(messages):
        if message.role != "tool":
            continue
        calls = _calls_before(messages, at)
        known = {call.get("id") for call in calls} - {None}
        named = message.more.get("tool_call_id")
        if not calls:
            yield "role-order", f"message {at + 1} is a tool's result that no call asked for"
            return
        if named is not None and known and named not in known:
            yield "role-order", f"message {at + 1} answers the call {named!r}, which nobody made"
            return


def _calls_before(messages: Messages, at: int) -> list[dict[str, object]]:
    """Those of the turn that the results up to `at` belong to."""
    caller: Message | None = next((each for each in reversed(messages[:at]) if each.role != "tool"), None)
    return list(caller.more.get("tool_calls", ())) if caller is not None and caller.role == ASSISTANT else []
