"""What one example is, whatever file and shape it came from: text, a chat, a preference, a judged answer,
or a prompt.

Messages are spelled as chat templates want them and as the server hands them over, so that what is
trained is what will be served. Nothing here knows files or tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from fairway.errors import FormatError

ROLES = ("system", "user", "assistant", "tool")
ASSISTANT = "assistant"


class RowError(FormatError):
    """One row is wrong; `kind` is the check that it fails. Whoever knows the file adds the place."""

    def __init__(self, kind: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.kind = kind


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str
    more: Mapping[str, Any] = field(default_factory=dict)
    """`tool_calls`, `tool_call_id`, `name`, `reasoning_content` and whatever else a template may know."""
    weight: int = 1
    """0: an assistant's turn that is shown and not learned."""

    def for_template(self) -> dict[str, Any]:
        return {"role": self.role, "content": self.content, **self.more}


Messages: TypeAlias = tuple[Message, ...]
Tools: TypeAlias = "tuple[dict[str, Any], ...] | None"


@dataclass(frozen=True)
class TextRow:
    """Text to continue; all of it is learned."""

    text: str


@dataclass(frozen=True)
class ChatRow:
    """A conversation; a prompt with its completion is one of two messages."""

    messages: Messages
    tools: Tools = None


@dataclass(frozen=True)
class PreferenceRow:
    """One prompt and two answers, the first of which people preferred."""

    prompt: Messages
    chosen: Messages
    rejected: Messages
    tools: Tools = None


@dataclass(frozen=True)
class KtoRow:
    """One prompt and an answer that was found good (`label`) or not."""

    prompt: Messages
    completion: Messages
    label: bool
    tools: Tools = None


@dataclass(frozen=True)
class PromptRow:
    """A prompt that the model answers itself while it learns."""

    prompt: Messages
    tools: Tools = None


Row: TypeAlias = TextRow | ChatRow | PreferenceRow | KtoRow | PromptRow


def conversation(row: Row) -> Messages:
    """The turns that a row is judged by; a preference by its preferred answer, text by none."""
    if isinstance(row, TextRow):
        return ()
    if isinstance(row, ChatRow):
        return row.messages
    if isinstance(row, PromptRow):
        return row.prompt
    return row.prompt + (row.chosen if isinstance(row, PreferenceRow) else row.completion)
