"""A Go template for Ollama that renders what a Jinja chat template renders, found by how that one behaves.

Jinja is richer than Go, so nothing is translated: conversations of marked contents are rendered, what
stands between the marks is learned, and a Go template is built from it. The rule: a candidate counts only
if it gives the same bytes for every conversation of the battery; otherwise the template is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from fairway.errors import FairwayError, RequestError, UnsupportedError
from fairway.text.chat_template import ChatTemplate
from fairway.text.ollama_template import OllamaTemplate

Messages: TypeAlias = Sequence[Mapping[str, str]]
SYSTEM, USER, ANSWER, AGAIN = "fwsystemfw", "fwuserfw", "fwanswerfw", "fwagainfw"
"""Contents that no template's own text holds."""


@dataclass(frozen=True)
class GoSource:
    """A Go template, and in sentences what it does not do that the Jinja template does."""

    source: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Pieces:
    """What stands around the contents."""

    begin: str
    """Before the first turn, where there is no system message."""
    user: tuple[str, str]
    answer: tuple[str, str]
    generation: str
    with_system: tuple[str, str] | None
    """Before and after the system message, up to the first user's content; None: it is refused."""


def go_from_jinja(template: ChatTemplate, *, bos: str = "") -> GoSource:
    """`bos` is the text that Ollama's tokenizer puts before a prompt by itself, and that is left out.

    Raises `UnsupportedError` where no Go template of the known shapes renders the same.
    """
    probe = _Probe(template, bos)
    try:
        pieces = _learned(probe)
    except RequestError as error:
        raise _refused(error.message.rstrip(".")) from error
    best, most = None, -1
    for source in dict.fromkeys(_candidates(pieces)):
        score = probe.score(source, pieces.with_system is not None)
        if score > most:
            best, most = source, score
    if best is None:
        raise _refused("no Go template of a known shape renders the same prompts")
    return GoSource(best, tuple(_notes(probe, pieces, most)))


@dataclass(frozen=True)
class _Probe:
    template: ChatTemplate
    bos: str

    def render(self, *said: tuple[str, str], to_be_answered: bool = True) -> str:
        text = self.template.render(_messages(said), add_generation_prompt=to_be_answered)
        return text.removeprefix(self.bos)

    def score(self, source: str, has_system: bool) -> int:
        """How many of the conversations that not all templates know are the same; -1: a usual one is not."""
        go = OllamaTemplate(source)
        for messages in _usual(has_system):
            if go.render(_messages(messages)) != self.render(*messages):
                return -1
        return sum(self._is_same(go, messages) for messages in _unusual(has_system))

    def _is_same(self, go: OllamaTemplate, messages: Sequence[tuple[str, str]]) -> bool:
        try:
            return go.render(_messages(messages)) == self.render(*messages)
        except RequestError:
            return False


def _messages(said: Sequence[tuple[str, str]]) -> Messages:
    return [{"role": role, "content": content} for role, content in said]


def _usual(has_system: bool) -> Iterator[list[tuple[str, str]]]:
    """Conversations that a template must render: contents of many kinds, without white space around."""
    for one, two, three in (
        (USER, ANSWER, AGAIN),
        ("Hello!", "Hi.\n\nHow are you?", "Größe: 漢字 🙂\n- a\n- b"),
        ("{{ .System }} {% if x %}", "<|im_end|> </s> [INST]", "'\"\\ \\n %s <b>&amp;</b>"),
    ):
        turns = [("user", one), ("assistant", two), ("user", three)]
        for count in (1, 3):
            yield turns[:count]
            if has_system:
                yield [("system", "Be kind.\nAlways."), *turns[:count]]
        yield [*turns, ("assistant", two), ("user", one)]


def _unusual(has_system: bool) -> Iterator[list[tuple[str, str]]]:
    yield [("user", USER), ("assistant", ANSWER)]
    if has_system:
        yield [
            ("system", SYSTEM),
            ("user", USER),
            ("assistant", ANSWER),
            ("system", "Late."),
            ("user", AGAIN),
        ]
        yield [("system", SYSTEM)]


def _learned(probe: _Probe) -> _Pieces:
    first, between, after, last = _around(
        probe.render(("user", USER), ("assistant", ANSWER), ("user", AGAIN)), USER, ANSWER, AGAIN
    )
    user = _user_begin(probe, first, after)
    end = _user_end(probe, between, last)
    return _Pieces(
        begin=first[: len(first) - len(user)],
        user=(user, end),
        answer=(between[len(end) :], after[: len(after) - len(user)]),
        generation=last[len(end) :],
        with_system=_around_system(probe),
    )


def _user_end(probe: _Probe, between: str, last: str) -> str:
    """What stands after a user's content, whoever speaks next."""
    shared = _common_begin(between, last)
    unanswered = probe.render(("user", USER), to_be_answered=False).partition(USER)[2]
    return unanswered if shared.startswith(unanswered) else shared


def _user_begin(probe: _Probe, first: str, after: str) -> str:
    """What stands before a user's content, whether or not an answer stands before that."""
    turns = probe.render(("user", USER), ("assistant", ANSWER), to_be_answered=False)
    begin = after.removeprefix(turns.partition(ANSWER)[2])
    return begin if begin and first.endswith(begin) else _common_end(first, after)


def _around_system(probe: _Probe) -> tuple[str, str] | None:
    try:
        text = probe.render(("system", SYSTEM), ("user", USER))
    except RequestError:
        return None
    if SYSTEM not in text:
        return None
    before, after, _ = _around(text, SYSTEM, USER)
    return before, after


def _around(text: str, *marks: str) -> list[str]:
    """What stands before, between and after the marks, each of which stands there once, in order."""
    pieces = []
    for mark in marks:
        piece, found, text = text.partition(mark)
        if not found or mark in text:
            raise _refused("it changes, repeats or leaves out what is said")
        pieces.append(piece)
    return [*pieces, text]


def _common_begin(one: str, two: str) -> str:
    length = 0
    while one[length : length + 1] == two[length : length + 1] != "":
        length += 1
    return one[:length]


def _common_end(one: str, two: str) -> str:
    return _common_begin(one[::-1], two[::-1])[::-1]


def _candidates(pieces: _Pieces) -> Iterator[str]:
    """System messages as turns of their own, wherever they stand; or before the first user's content."""
    if pieces.with_system is not None:
        before, after = pieces.with_system
        if after.endswith(pieces.user[0]):
            end = after[: len(after) - len(pieces.user[0])]
            shared = _common_begin(before, pieces.begin)
            for begin in (shared, ""):
                yield _with_system_turns(pieces, begin, (before[len(begin) :], end))
    yield _with_system_first(pieces)
    yield _with_system_last(pieces)


def _with_system_turns(pieces: _Pieces, begin: str, system: tuple[str, str]) -> str:
    if begin == pieces.begin:
        head = _literal(begin)
    elif not begin:
        head = f"{{{{ if not .System }}}}{_literal(pieces.begin)}{{{{ end }}}}"
    else:
        head = f"{{{{ if .System }}}}{_literal(begin)}{{{{ else }}}}{_literal(pieces.begin)}{{{{ end }}}}"
    return (
        f"{head}{{{{ range .Messages }}}}"
        f'{{{{ if eq .Role "system" }}}}{_turn(system)}'
        f'{{{{ else if eq .Role "user" }}}}{_turn(pieces.user)}'
        f'{{{{ else if eq .Role "assistant" }}}}{_turn(pieces.answer)}{{{{ end }}}}'
        f"{{{{ end }}}}{_literal(pieces.generation)}"
    )


def _with_system_first(pieces: _Pieces) -> str:
    """A model that knows no system message is told it at the beginning of what the user says."""
    begin = pieces.begin + pieces.user[0]
    before, after = pieces.with_system or (begin, "\n\n")
    return (
        "{{ $first := true }}{{ range .Messages }}"
        '{{ if eq .Role "user" }}{{ if $first }}{{ $first = false }}'
        f"{{{{ if $.System }}}}{_literal(before)}{{{{ $.System }}}}{_literal(after)}"
        f"{{{{ else }}}}{_literal(begin)}{{{{ end }}}}"
        f"{{{{ else }}}}{_literal(pieces.user[0])}{{{{ end }}}}{{{{ .Content }}}}{_literal(pieces.user[1])}"
        f'{{{{ else if eq .Role "assistant" }}}}{_turn(pieces.answer)}{{{{ end }}}}'
        f"{{{{ end }}}}{_literal(pieces.generation)}"
    )


def _with_system_last(pieces: _Pieces) -> str:
    """Some models are told the system message with the question that is to be answered."""
    before, after = pieces.with_system or (pieces.begin + pieces.user[0], "\n\n")
    before = before.removeprefix(pieces.begin)
    return (
        f"{_literal(pieces.begin)}{{{{ range $i, $_ := .Messages }}}}"
        '{{ if eq .Role "user" }}{{ if and $.System (eq (len (slice $.Messages $i)) 1) }}'
        f"{_literal(before)}{{{{ $.System }}}}{_literal(after)}"
        f"{{{{ else }}}}{_literal(pieces.user[0])}{{{{ end }}}}{{{{ .Content }}}}{_literal(pieces.user[1])}"
        f'{{{{ else if eq .Role "assistant" }}}}{_turn(pieces.answer)}{{{{ end }}}}'
        f"{{{{ end }}}}{_literal(pieces.generation)}"
    )


def _turn(around: tuple[str, str]) -> str:
    return f"{_literal(around[0])}{{{{ .Content }}}}{_literal(around[1])}"


def _literal(text: str) -> str:
    """Text of a Go template: only its opening braces need care."""
    guarded = text.replace("{{", '{{ "{{" }}')
    return guarded[:-1] + '{{ "{" }}' if guarded.endswith("{") else guarded


def _notes(probe: _Probe, pieces: _Pieces, score: int) -> Iterator[str]:
    if pieces.with_system is None:
        yield "The model's own template refuses system messages; here they begin the first user message."
    elif score < len(list(_unusual(has_system=True))):
        yield "Unusual conversations, such as those with a late system message, may be rendered differently."
    if _prints_the_date(probe):
        yield "The date of the day on which the template was made stands in it."
    yield "Tools are not offered to the model, and white space around what is said is kept."


def _prints_the_date(probe: _Probe) -> bool:
    try:
        early = probe.template.with_clock(lambda: datetime(2001, 2, 3)).render(_messages([("user", USER)]))
    except FairwayError:
        return True
    return early.removeprefix(probe.bos) != probe.render(("user", USER))


def _refused(why: str) -> UnsupportedError:
    return UnsupportedError(
        f"The chat template has no equal in Ollama's template language: {why}.",
        hint="The GGUF file keeps the Jinja template; write a TEMPLATE by hand, or serve the model here.",
    )
