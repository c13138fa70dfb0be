"""Whether a template shows what a conversation holds: some know no tools and leave them out without a word.

Names and texts are sought, not their form: a template may quote, trim and move them. Answers are not looked
at here, since templates strip the thinking of earlier ones on purpose.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fairway.tune.rows import ASSISTANT, RowError, Tools

WORD = re.compile(r"\w{3,}")


def require_shown(messages: Sequence[Mapping[str, Any]], tools: Tools, text: str) -> None:
    """Raises `RowError` naming what `text`, the rendered conversation, lacks."""
    missing = next(_missing(messages, tools, text), None)
    if missing is not None:
        raise RowError(
            "dropped",
            f"the chat template leaves out {missing}.",
            hint="Take a model whose template knows it, or leave it out of the data.",
        )


def _missing(messages: Sequence[Mapping[str, Any]], tools: Tools, text: str) -> Iterator[str]:
    for tool in tools or ():
        if tool["function"]["name"] not in text:
            yield f"the tool {tool['function']['name']!r}"
    for at, message in enumerate(messages, 1):
        for call in message.get("tool_calls", ()):
            if call["function"]["name"] not in text:
                yield f"the call of {call['function']['name']!r} in message {at}"
        role, content = message["role"], message["content"].strip()
        if role != ASSISTANT and content not in text and not _words_shown(content, text):
            yield f"message {at}, the {role}'s"


def _words_shown(content: str, text: str) -> bool:
    """Whether every longer word is there, as in JSON that was written anew."""
    words = WORD.findall(content)
    return bool(words) and all(word in text for word in words)
