"""A conversation as text, and the characters that are learned: what a served model would have to write.

The server's prompt for a turn is everything before it, rendered with a generation prompt; the rest of the
turn, up to and with the text that ends it, is learned. The rule: every learned character follows exactly the
prompt that the server would send. Where a template writes earlier turns differently (thinking is stripped,
tools move), a turn that is not found in the whole conversation becomes an example of its own.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fairway.formats.bundle import Preset
from fairway.runtimes.preset import with_preset_messages
from fairway.text.chat_template import ChatTemplate
from fairway.tune.rows import ASSISTANT, Messages, RowError, Tools
from fairway.tune.shown import require_shown

# Contents that no conversation has: what stands before both renderings of a turn does not depend on it.
PROBES = ("\ue000", "\ue001")
END_ADDED = "end-added"
UNPROMPTED = "unprompted"


@dataclass(frozen=True)
class Rendered:
    """One text to learn from."""

    text: str
    spans: tuple[tuple[int, int], ...]
    """Character ranges that are learned, in order."""
    turn: int | None = None
    """The message that alone is learned, where it had to become an example of its own."""
    notes: frozenset[str] = frozenset()
    """`END_ADDED`: an end-of-text token was put after the answer. `UNPROMPTED`: the server's prompt would
    hold more than stands before the answer."""


@dataclass(frozen=True)
class Turn:
    """One answer: the text before it, and what the model has to write."""

    prompt: str
    answer: str
    ends: bool
    """Whether `answer` ends with an end-of-text token."""
    is_empty: bool = False
    """Whether it says nothing before that."""
    unprompted: bool = False


class Renderer:
    """Renders with a model's own template. `endings` spell its end-of-text tokens, `eos` the one to add."""

    def __init__(
        self, template: ChatTemplate, endings: Collection[str], eos: str, preset: Preset | None = None
    ) -> None:
        self._template = template
        self._ending = re.compile("|".join(map(re.escape, sorted(endings, key=len, reverse=True))) or r"(?!)")
        self._eos = eos
        self._preset = preset

    def whole(self, messages: Messages, tools: Tools) -> Rendered:
        """Every character is learned."""
        prepared = self._prepared(messages)
        text = self._render(prepared, tools)
        require_shown(prepared, tools, text)
        return Rendered(text, ((0, len(text)),))

    def prompt(self, messages: Messages, tools: Tools) -> Rendered:
        """What the server would send for these messages; nothing of it is learned."""
        prepared = self._prepared(messages)
        text = self._render(prepared, tools, prompt=True)
        require_shown(prepared, tools, text)
        return Rendered(text, ())

    def answers(self, messages: Messages, tools: Tools, learned: Collection[int]) -> list[Rendered]:
        """`learned`: which messages. One text, or several where the template rewrites earlier turns.

        Raises `RequestError` where the template refuses the conversation, `RowError` where it cannot be known
        what the assistant wrote.
        """
        prepared = self._prepared(messages)
        shift = len(prepared) - len(messages)
        learned = {index + shift for index in learned}
        if self._template.marks_answers:
            found = [self._marked(prepared, tools, learned)]
        else:
            found = self._found(prepared, tools, sorted(learned))
        require_shown(prepared, tools, "\n".join(each.text for each in found))
        return [each if each.turn is None else replace(each, turn=each.turn - shift) for each in found]

    def _prepared(self, messages: Messages) -> list[dict[str, Any]]:
        """With the system message that the model would be served with."""
        found = with_preset_messages([each.for_template() for each in messages], self._preset)
        return [dict(each) for each in found]

    def _render(self, messages: Sequence[dict[str, Any]], tools: Tools, *, prompt: bool = False) -> str:
        return self._template.render(messages, tools=tools, add_generation_prompt=prompt)

    def _marked(self, messages: list[dict[str, Any]], tools: Tools, learned: set[int]) -> Rendered:
        """By the template's own tags; an end-of-text token that they leave outside is learned too."""
        text, spans = self._template.render_marked(messages, tools=tools)
        if any(not self._ending.sub("", text[start:end]).strip() for start, end in spans):
            require_shown(messages, tools, text)
            raise RowError("dropped", "the chat template renders an answer as nothing.")
        answers = [index for index, each in enumerate(messages) if each["role"] == ASSISTANT]
        if len(spans) == len(answers):
            spans = [span for index, span in zip(answers, spans, strict=True) if index in learned]
        elif set(answers) - learned:
            raise RowError(
                "template",
                f"the chat template marks {len(spans)} places and the conversation has {len(answers)} "
                "answers, so that it cannot be known which to leave out.",
            )
        return Rendered(text, tuple(self._with_ending(text, *span) for span in spans))

    def _with_ending(self, text: str, start: int, end: int) -> tuple[int, int]:
        found = self._ending.match(text, end)
        return (start, found.end()) if found and not self._ending.search(text, start, end) else (start, end)

    def _found(self, messages: list[dict[str, Any]], tools: Tools, learned: list[int]) -> list[Rendered]:
        """By comparing what is rendered without and with each turn."""
        text = self._render(messages, tools)
        spans: list[tuple[int, int]] = []
        notes: set[str] = set()
        alone: list[Rendered] = []
        for index in learned:
            turn = self._turn(messages, tools, index, text if index == len(messages) - 1 else None)
            if turn.is_empty:
                require_shown(messages[: index + 1], tools, turn.prompt)
                raise RowError("dropped", f"the chat template renders message {index + 1} as nothing.")
            start, end = len(turn.prompt), len(turn.prompt) + len(turn.answer)
            own = frozenset({UNPROMPTED} if turn.unprompted else ())
            if turn.ends and text.startswith(turn.prompt + turn.answer):
                spans.append((start, end))
                notes |= own
            elif turn.ends or not self._eos:
                alone.append(Rendered(turn.prompt + turn.answer, ((start, end),), index, own))
            else:
                answer = turn.answer.rstrip() + self._eos
                whole = Rendered(turn.prompt + answer, ((start, start + len(answer)),), index)
                alone.append(replace(whole, notes=own | {END_ADDED}))
        if spans or not alone:
            return [Rendered(text, tuple(spans), notes=frozenset(notes)), *alone]
        return alone

    def _turn(self, messages: list[dict[str, Any]], tools: Tools, index: int, whole: str | None) -> Turn:
        before, until = messages[:index], messages[: index + 1]
        prompt = self._render(before, tools, prompt=True)
        text = self._render(until, tools) if whole is None else whole
        if text.startswith(prompt):
            return self._cut(prompt, text[len(prompt) :])
        return self._reworked(until, tools, prompt, text)

    def _reworked(self, until: list[dict[str, Any]], tools: Tools, prompt: str, text: str) -> Turn:
        """The prompt does not begin the conversation: what stands before the content tells where it is."""
        first, second = (
            self._render([*until[:-1], until[-1] | {"content": probe}], tools) for probe in PROBES
        )
        header = _shared_beginning(first, second)
        rest = text[len(header) :]
        if not first.startswith(header + PROBES[0]) or not text.startswith(header) or not rest.strip():
            raise _unknowable(len(until))
        asked = until[-2]["content"].strip() if len(until) > 1 else ""
        if prompt.startswith(header) and asked and asked in header:
            return replace(self._cut(header, rest), unprompted=True)
        # Alike from the message before the answer on: the answer's own header is in the prompt.
        if not asked or asked not in _shared_beginning(prompt[::-1], header[::-1])[::-1]:
            raise _unknowable(len(until))
        return self._cut(prompt, rest)

    def _cut(self, prompt: str, rest: str) -> Turn:
        """The served model stops at the first end-of-text token: nothing after it is the answer."""
        found = self._ending.search(rest)
        said = (rest[: found.start()] if found else rest).strip()
        return Turn(prompt, rest[: found.end()] if found else rest, found is not None, is_empty=not said)


def _shared_beginning(first: str, second: str) -> str:
    """The characters that both begin with, found by halving."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if first[:middle] == second[:middle] else (low, middle - 1)
    return first[:low]


def _unknowable(number: int) -> RowError:
    return RowError(
        "template",
        f"the chat template rewrites what comes before message {number}, so that it cannot be known where "
        "the answer begins.",
        hint="Put {% generation %} and {% endgeneration %} around the assistant's text in the template.",
    )
