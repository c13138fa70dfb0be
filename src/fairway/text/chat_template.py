"""Turns a conversation into the prompt a model was trained on, with the model's own Jinja template.

The rendering is byte for byte that of transformers' apply_chat_template: the same environment and the
same view of the messages. Templates are strangers' programs: they run in a sandbox, under limits
(template_limits.py), and whatever goes wrong in them is one `RequestError`. No tokenizer is known here.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fairway.errors import FormatError, RequestError
from fairway.text import template_limits as limits

if TYPE_CHECKING:
    from jinja2 import Template

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
TRANSCRIPT = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ message['role'] | capitalize + ': ' + message['content'] | trim + '\\n\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
_PROBE = "fairway probe"
_GENERATION = "endgeneration"
# Noncharacters: no text holds them, so that they can be found again.
_MARKS = ("\ufdd0", "\ufdd1")
# Names under which callers pass a model's reasoning; templates read the first, gpt-oss's the second.
_REASONING = ("reasoning_content", "thinking", "reasoning")


def default_template(token_id: Callable[[str], int | None] | None = None) -> str:
    """The template for a model that brings none.

    ChatML if the vocabulary has its markers (pass `tokenizer.token_id`), else a plain transcript
    ("User: ...", "Assistant:") that any text model can continue.
    """
    if token_id is None or None in (token_id("<|im_start|>"), token_id("<|im_end|>")):
        return TRANSCRIPT
    return CHATML


class ChatTemplate:
    """A compiled template; rendering is thread-safe.

    Raises `FormatError` where the template is broken. `clock` is what strftime_now reads.
    """

    def __init__(
        self,
        source: str,
        *,
        bos_token: str = "",
        eos_token: str = "",
        special_tokens: Mapping[str, str] | None = None,
        clock: Callable[[], datetime] = datetime.now,
    ) -> None:
        self.source = source
        self._tokens = {"bos_token": bos_token, "eos_token": eos_token, **(special_tokens or {})}
        self._clock = clock
        self._template = _compile(source, clock)

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        documents: Sequence[Mapping[str, Any]] | None = None,
        **variables: object,
    ) -> str:
        """The prompt. `variables` are the template's own switches, `enable_thinking=False` and the like.

        Raises `RequestError` where the template refuses the conversation or fails on it.
        """
        more = {"tools": tools, "documents": documents}
        return self._render(self._template, messages, more, variables, add_generation_prompt)

    @property
    def marks_answers(self) -> bool:
        """Whether the template says itself what the assistant wrote, for `render_marked`."""
        return _GENERATION in self.source

    def render_marked(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        **variables: object,
    ) -> tuple[str, list[tuple[int, int]]]:
        """A whole conversation, and the character ranges inside {% generation %} tags.

        Raises `RequestError` like `render`, and where the template reworks what it marked.
        """
        more: dict[str, Sequence[Mapping[str, Any]] | None] = {"tools": tools, "documents": None}
        text = self._render(self._template, messages, more, variables, False)
        marked = self._render(self._marking, messages, more, variables, False)
        plain, ranges = _without_marks(marked)
        if plain != text:
            raise RequestError(
                "The model's chat template changes the text inside its generation tags, so that its place "
                "cannot be known.",
                param="messages",
            )
        return text, ranges

    @functools.cached_property
    def _marking(self) -> Template:
        return _compile(self.source, self._clock, _MARKS)

    def _render(
        self,
        template: Template,
        messages: Sequence[Mapping[str, Any]],
        more: Mapping[str, Sequence[Mapping[str, Any]] | None],
        variables: Mapping[str, object],
        add_generation_prompt: bool,
    ) -> str:
        try:
            names = self._tokens | _plain(variables)
            names["messages"] = [_with_reasoning(message) for message in _objects(messages, "messages")]
            names |= {name: None if each is None else _objects(each, name) for name, each in more.items()}
            names["add_generation_prompt"] = add_generation_prompt
            limits.start_clock(len(messages))
            return _written(template.generate(names))
        except RequestError:
            raise
        except Exception as error:
            raise _explained(error) from error

    def with_clock(self, clock: Callable[[], datetime]) -> ChatTemplate:
        """The same template at another time."""
        return ChatTemplate(self.source, special_tokens=self._tokens, clock=clock)

    @functools.cached_property
    def takes_parts(self) -> bool:
        """Whether message content may be a list of parts; if not, join their texts before rendering."""
        parts = [{"role": "user", "content": [{"type": "text", "text": _PROBE}]}]
        try:
            prompt = self.render(parts)
        except RequestError:
            return False
        return _PROBE in prompt and "{'type'" not in prompt and '{"type"' not in prompt


def _compile(source: str, clock: Callable[[], datetime], marks: tuple[str, str] | None = None) -> Template:
    from jinja2 import TemplateError

    from fairway.text.template_sandbox import TemplateEnvironment

    if len(source) > limits.MAX_TEMPLATE_CHARS:
        raise FormatError(
            f"The chat template has {len(source)} characters; at most {limits.MAX_TEMPLATE_CHARS} are read."
        )
    try:
        return TemplateEnvironment(clock, marks).from_string(source)
    except (TemplateError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        where = f" (line {line})" if line else ""
        raise FormatError(f"The chat template is broken{where}: {error or type(error).__name__}.") from error


def _written(pieces: Iterable[str]) -> str:
    total = 0
    text: list[str] = []
    for piece in pieces:
        total += len(piece)
        limits.require_size(total)
        text.append(piece)
    return "".join(text)


def _without_marks(marked: str) -> tuple[str, list[tuple[int, int]]]:
    """Marks never nest: what stands between the first and the second of a pair is a range."""
    plain, ranges = "", []
    for index, part in enumerate(re.split("|".join(_MARKS), marked)):
        if index % 2:
            ranges.append((len(plain), len(plain) + len(part)))
        plain += part
    return plain, ranges


def _explained(error: Exception) -> RequestError:
    from fairway.text.template_sandbox import TemplateRefusal

    reason = str(error).strip() or type(error).__name__
    if isinstance(error, TemplateRefusal):
        return RequestError(f"The model's chat template refuses these messages: {reason}", param="messages")
    if isinstance(error, limits.LimitReached):
        return RequestError(f"The model's chat template was stopped: {reason}.", param="messages")
    return RequestError(
        f"The model's chat template cannot render these messages: {reason}.",
        hint="Check roles, their order and the type of each content.",
        param="messages",
    )


def _objects(values: object, name: str) -> list[dict[Any, Any]]:
    """A fresh list of plain dictionaries."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise RequestError(f"{name} must be a list of objects.", param=name)
    plain = [_plain(value) for value in values]
    wrong = [value for value in plain if not isinstance(value, dict)]
    if wrong:
        raise RequestError(f"{name} must be a list of objects, not of {type(wrong[0]).__name__}.", param=name)
    return plain


def _plain(value: object) -> Any:  # noqa: ANN401 (as deep as JSON goes)
    """Only JSON's types reach a template: methods of richer objects are unknown to the sandbox."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    if isinstance(value, list):
        return list(map(_plain, value))
    if callable(dump := getattr(value, "model_dump", None)):
        return _plain(dump())
    return f"<{type(value).__name__}>"


def _with_reasoning(message: dict[Any, Any]) -> dict[Any, Any]:
    reasoning = next((message[name] for name in _REASONING if message.get(name) is not None), None)
    if reasoning is None:
        return message
    return {"thinking": reasoning, **message, "reasoning_content": reasoning}
