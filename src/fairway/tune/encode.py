"""Rows as token ids, and which of them are learned.

A text is tokenised whole, as the server does it, and a token is learned if any of its characters is. The
rule: nothing is cut or left out here; who trains or checks asks for it, and counts it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fairway.errors import FormatError, RequestError, UsageError
from fairway.formats.bundle import Bundle
from fairway.text.loader import load_template, load_tokenizer
from fairway.text.tokenizer import LocatedTokens, Tokenizer
from fairway.tune.render import Rendered, Renderer
from fairway.tune.rows import (
    ASSISTANT,
    ChatRow,
    Messages,
    PreferenceRow,
    PromptRow,
    Row,
    RowError,
    TextRow,
    Tools,
)
from fairway.tune.settings import DataSettings

IGNORED = -100
"""The label of a token that is not learned, as PyTorch's cross entropy has it."""


@dataclass(frozen=True, eq=False)
class Example:
    """One sequence of tokens."""

    part: str
    """"", "chosen", "rejected" or `PROMPT`; "message 3" where a turn had to become an example of its own."""
    ids: npt.NDArray[np.int32]
    learned: npt.NDArray[np.bool_]
    """Per token."""
    notes: frozenset[str] = frozenset()
    """`render.END_ADDED`, `render.UNPROMPTED`; `STRADDLES`: a token begins before what is learned."""
    num_cut: int = 0
    """Tokens that were cut off at the end."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labels(self) -> npt.NDArray[np.int32]:
        """`ids` where they are learned, else `IGNORED`; not shifted, as transformers wants them."""
        return np.where(self.learned, self.ids, np.int32(IGNORED))

    @cached_property
    def num_learned(self) -> int:
        return int(self.learned.sum())


STRADDLES = "straddles"
PROMPT = "prompt"
"""The part of an example that is a prompt alone."""
Parts: TypeAlias = "list[tuple[str, Rendered]]"
Encoded: TypeAlias = "list[Example] | RowError"
"""All examples of one row: [chosen, rejected] of a preference; or why there are none."""


class Encoder:
    """Makes examples of rows, with the tokenizer and the template of one model."""

    def __init__(
        self, tokenizer: Tokenizer, renderer: Renderer, settings: DataSettings, end_ids: Iterable[int]
    ) -> None:
        self.tokenizer = tokenizer
        self.end_ids = frozenset(end_ids)
        self.settings = settings
        self._renderer = renderer

    def with_settings(self, settings: DataSettings) -> Encoder:
        """The same model's, for other lengths or another choice of what is learned."""
        return Encoder(self.tokenizer, self._renderer, settings, self.end_ids)

    def encode(self, rows: Sequence[Row]) -> list[Encoded]:
        """Per row; those that cannot be encoded say why. Examples keep their full length (see `fitted`)."""
        rendered = [self._rendered(row) for row in rows]
        try:
            return self._tokenised(rows, rendered)
        except RequestError:  # of one text: find out whose
            pairs = zip(rows, rendered, strict=True)
            return [each for row, one in pairs for each in self._tokenised_alone(row, one)]

    def _tokenised(self, rows: Sequence[Row], rendered: Sequence[Parts | RowError]) -> list[Encoded]:
        texts = [text.text for one in rendered if not isinstance(one, RowError) for _, text in one]
        located = iter(self.tokenizer.encode_located(texts))
        return [
            one
            if isinstance(one, RowError)
            else [self._example(part, text, next(located), isinstance(row, TextRow)) for part, text in one]
            for row, one in zip(rows, rendered, strict=True)
        ]

    def _tokenised_alone(self, row: Row, one: Parts | RowError) -> list[Encoded]:
        try:
            return self._tokenised([row], [one])
        except RequestError as error:
            return [RowError("tokenizer", error.message[:1].lower() + error.message[1:], hint=error.hint)]

    def _rendered(self, row: Row) -> Parts | RowError:
        try:
            return [(name, _without_nul(each)) for name, each in self._parts(row)]
        except RowError as error:
            return error
        except RequestError as error:
            return RowError("template", error.message[:1].lower() + error.message[1:], hint=error.hint)

    def _parts(self, row: Row) -> Iterable[tuple[str, Rendered]]:
        if isinstance(row, TextRow):
            yield "", Rendered(row.text, ((0, len(row.text)),))
        elif isinstance(row, ChatRow):
            yield from self._chat(row)
        elif isinstance(row, PreferenceRow):
            yield "chosen", self._completion(row.prompt, row.chosen, row.tools)
            yield "rejected", self._completion(row.prompt, row.rejected, row.tools)
        elif isinstance(row, PromptRow):
            yield PROMPT, self._prompt(row)
        else:
            yield "", self._completion(row.prompt, row.completion, row.tools)

    def _chat(self, row: ChatRow) -> Iterable[tuple[str, Rendered]]:
        if self.settings.raw:
            yield "", self._joined(row.messages)
        elif self.settings.learn == "all":
            yield "", self._renderer.whole(row.messages, row.tools)
        else:
            learned = [at for at, each in enumerate(row.messages) if each.role == ASSISTANT]
            learned = learned[-1:] if self.settings.learn == "last" else learned
            wanted = [at for at in learned if row.messages[at].weight]
            texts = self._renderer.answers(row.messages, row.tools, wanted)
            for each in texts:
                is_alone = each.turn is None or len(texts) == 1
                yield ("" if is_alone else f"message {(each.turn or 0) + 1}"), each

    def _prompt(self, row: PromptRow) -> Rendered:
        if not self.settings.raw:
            return self._renderer.prompt(row.prompt, row.tools)
        if len(row.prompt) != 1:
            raise RowError("shape", "without the chat template a prompt is one text.")
        return Rendered(row.prompt[0].content, ())

    def _completion(self, prompt: Messages, answer: Messages, tools: Tools) -> Rendered:
        """Only the last answer can differ in its prompt, so there is one text."""
        if self.settings.raw:
            return self._joined((*prompt, *answer))
        learned = [len(prompt) + at for at, each in enumerate(answer) if each.role == ASSISTANT]
        texts = self._renderer.answers((*prompt, *answer), tools, learned)
        if len(texts) != 1:
            raise RowError(
                "template", "the answer has several turns and the chat template rewrites the earlier ones."
            )
        return texts[0]

    def _joined(self, messages: Messages) -> Rendered:
        if [each.role for each in messages] != ["user", ASSISTANT]:
            raise RowError("shape", "without the chat template a row is one prompt and one completion.")
        prompt, answer = messages
        text = prompt.content + answer.content
        return Rendered(text, ((0 if self.settings.learn == "all" else len(prompt.content), len(text)),))

    def _example(self, part: str, rendered: Rendered, located: LocatedTokens, is_text: bool) -> Example:
        learned, straddles = mask(located.ends, rendered.spans)
        ids, notes = located.ids, rendered.notes | ({STRADDLES} if straddles else set())
        if is_text or self.settings.raw:
            before, after = self._around(ids)
            after = [] if part == PROMPT else after
            learned = np.concatenate([[False] * len(before), learned, [True] * len(after)]).astype(np.bool_)
            ids = [*before, *ids, *after]
        return Example(part, np.array(ids, np.int32), learned, frozenset(notes))

    def _around(self, ids: list[int]) -> tuple[list[int], list[int]]:
        """What begins a text, and the end-of-text token whether the tokenizer adds it or not."""
        before, after = self.tokenizer.missing_around(ids)
        eos = self.tokenizer.eos_token_id
        last = after[-1:] or ids[-1:]
        is_open = eos is not None and (not last or last[0] not in self.end_ids)
        return before, [*after, eos] if is_open and eos is not None else after


def _without_nul(rendered: Rendered) -> Rendered:
    if "\0" in rendered.text:
        raise RowError("nul", "the text holds a NUL character (U+0000).", hint="Was the file damaged?")
    return rendered


def mask(ends: Sequence[int], spans: Sequence[tuple[int, int]]) -> tuple[npt.NDArray[np.bool_], bool]:
    """Which tokens hold a character of the spans, and whether one of them begins before its span.

    `ends` are character positions after the tokens. A token that ends where the one before it does (a byte of
    the same emoji) shares its fate.
    """
    until = np.maximum.accumulate(np.asarray(ends, np.int64)) if len(ends) else np.zeros(0, np.int64)
    since = np.concatenate([[0], until[:-1]])[: len(until)]
    learned = np.zeros(len(until), np.bool_)
    straddles = False
    for start, end in spans:
        learned |= (until > start) & (since < end)
        straddles = straddles or bool(((since < start) & (until > start)).any())
    if len(until):
        owner = np.maximum.accumulate(np.where(until > since, np.arange(len(until)), 0))
        learned = learned[owner]
    return learned, straddles


def fitted(row: Row, examples: list[Example], settings: DataSettings) -> list[Example]:
    """A row's examples within the length that was set: as they are, cut, or without those to be skipped.

    A preference needs both its examples, so that it is skipped whole. Raises `RowError` where longer examples
    are refused.
    """
    limit = settings.max_length
    longer = [each for each in examples if limit is not None and len(each) > limit]
    if limit is None or not longer or settings.too_long == "keep":
        return examples
    if settings.too_long == "truncate":
        return [_cut(each, limit) for each in examples]
    if settings.too_long == "skip":
        return [] if isinstance(row, PreferenceRow) else [each for each in examples if len(each) <= limit]
    raise RowError(
        "too-long",
        f"{longer[0].part or 'the row'} has {len(longer[0]):,} tokens, {limit:,} fit.",
        hint="Raise --max-length, or say --too-long skip or --too-long truncate.",
    )


def _cut(example: Example, limit: int) -> Example:
    num_cut = max(0, len(example) - limit)
    return Example(example.part, example.ids[:limit], example.learned[:limit], example.notes, num_cut)


def encoder_for(
    bundle: Bundle, settings: DataSettings, clock: Callable[[], datetime] = datetime.now
) -> Encoder:
    """`clock` is what templates call today. Raises `FormatError` where the model has no tokenizer."""
    if bundle.tokenizer is None:
        raise FormatError(f"{bundle.path} has no tokenizer.", hint="Put tokenizer.json beside the weights.")
    tokenizer = load_tokenizer(bundle.tokenizer)
    eos = tokenizer.eos_token_id
    end_ids = set(bundle.end_of_text_ids) | ({eos} if eos is not None else set())
    if not end_ids:
        raise UsageError(
            f"{bundle.name} has no end-of-text token, so that it could not learn to stop.",
            hint="Name one as eos_token in its tokenizer_config.json.",
        )
    endings = {tokenizer.token_text(each) for each in end_ids if each < tokenizer.vocab_size} - {""}
    added = tokenizer.token_text(eos) if eos is not None else min(endings, default="")
    template = load_template(bundle.chat_template, tokenizer, clock=clock)
    return Encoder(tokenizer, Renderer(template, endings, added, bundle.preset), settings, end_ids)
