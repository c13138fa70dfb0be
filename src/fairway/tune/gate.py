"""A held-out set scored through the serving path: what the engine says to the prompts that a server sends.

Loss is the engine's own log probabilities of the tokens that training learns; answers are generated, at
temperature 0, from the model's chat template. The rule: nothing here knows how a stage was made.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from fairway.errors import FormatError
from fairway.registry.progress import Progress
from fairway.runtimes.protocol import Generation, GenerationRequest, Runtime
from fairway.tune.dataset import Dataset
from fairway.tune.encode import Encoder, Example, fitted
from fairway.tune.metrics import LOSS, STOPS, Metric
from fairway.tune.rows import ASSISTANT, ChatRow, KtoRow, Messages, Row, RowError, TextRow, conversation

AT_ONCE = 32
"""Rows whose requests are queued together; the engine batches them."""


@dataclass(frozen=True)
class Score:
    """One stage on one held-out set."""

    num_rows: int
    num_labels: int
    """Tokens that the loss is the mean of."""
    num_answers: int
    loss: float
    """Nats per token, as training reports it."""
    stops: float | None
    """Share of the answers that end with an end-of-text token; None where nothing is asked (plain text)."""
    metrics: Mapping[str, float | None]
    seconds: float
    weight_type: str

    @property
    def figures(self) -> dict[str, float | None]:
        """All that a bar may ask for."""
        return {LOSS: self.loss, STOPS: self.stops, **self.metrics}


@dataclass
class _Sums:
    nats: float = 0.0
    num_rows: int = 0
    num_labels: int = 0
    num_answers: int = 0
    num_stopped: int = 0
    values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Asked:
    """One row in the engine's hands."""

    learned: Sequence[tuple[Example, Generation]]
    answer: Generation | None
    expected: str


class Gate:
    """How stages are scored: by which data, asked and judged how."""

    def __init__(
        self, data: Dataset, metrics: Mapping[str, Metric], *, max_tokens: int, max_rows: int | None = None
    ) -> None:
        self.data, self.metrics = data, metrics
        self._max_tokens = max_tokens
        self._num_rows = len(data) if max_rows is None else min(max_rows, len(data))

    def score(self, runtime: Runtime, encoder: Encoder, progress: Progress) -> Score:
        """`encoder` is the stage's own. Raises `RowError` naming the line of a row that cannot be asked."""
        start, sums = time.monotonic(), _Sums(values=dict.fromkeys(self.metrics, 0.0))
        context = runtime.info.context
        settings = encoder.settings
        limit = context if settings.max_length is None else min(context, settings.max_length)
        encoder = encoder.with_settings(replace(settings, max_length=limit))
        for first in range(0, self._num_rows, AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, self._num_rows))
            asked = [each for number in numbers if (each := self._ask(number, runtime, encoder)) is not None]
            for each in asked:
                self._count(each, sums)
            progress(numbers[-1] + 1, self._num_rows, "")
        return self._result(sums, runtime, time.monotonic() - start)

    def _ask(self, number: int, runtime: Runtime, encoder: Encoder) -> _Asked | None:
        """Queues what a row asks; None for a row that says nothing good, as an answer that was disliked."""
        row = _wanted(self.data.row(number))
        if row is None:
            return None
        [found] = encoder.encode([row])
        try:
            if isinstance(found, RowError):
                raise found
            examples = fitted(row, found, encoder.settings)
        except RowError as error:
            raise self.data.placed(number, error) from None
        if not examples:
            return None
        learned = [(each, runtime.generate(_reading(runtime, each))) for each in examples]
        question = _question(row)
        if question is None:
            return _Asked(learned, None, "")
        prompt, expected = question
        ids = _prompt_ids(runtime, row, prompt, raw=encoder.settings.raw)
        room = min(self._max_tokens, runtime.info.context - len(ids))
        sampling = replace(runtime.defaults, temperature=0.0, max_tokens=max(1, room), seed=0)
        text = expected or _written(examples[-1], encoder)
        return _Asked(learned, runtime.generate(GenerationRequest(ids, sampling)), text)

    def _count(self, asked: _Asked, sums: _Sums) -> None:
        sums.num_rows += 1
        for example, generation in asked.learned:
            sums.nats += _nats(example, generation)
            sums.num_labels += int(example.learned[1:].sum())
        if asked.answer is None:
            return
        text, stopped = _answer(asked.answer)
        sums.num_answers += 1
        sums.num_stopped += stopped
        for name, metric in self.metrics.items():
            sums.values[name] += metric(text, asked.expected)

    def _result(self, sums: _Sums, runtime: Runtime, seconds: float) -> Score:
        if not sums.num_labels:
            raise FormatError(f"{self.data.path.name} holds no row that could be scored.")
        count = sums.num_answers
        return Score(
            num_rows=sums.num_rows,
            num_labels=sums.num_labels,
            num_answers=count,
            loss=sums.nats / sums.num_labels,
            stops=sums.num_stopped / count if count else None,
            metrics={name: value / count if count else None for name, value in sums.values.items()},
            seconds=seconds,
            weight_type=runtime.info.weight_type,
        )


def _wanted(row: Row) -> TextRow | ChatRow | None:
    """What a model should say: of two answers the preferred one, of judged ones those that were liked."""
    if isinstance(row, TextRow | ChatRow):
        return row
    if isinstance(row, KtoRow) and not row.label:
        return None
    return ChatRow(conversation(row), row.tools)


def _question(row: TextRow | ChatRow) -> tuple[Messages, str] | None:
    """What comes before the last answer that is learned, and that answer."""
    if isinstance(row, TextRow):
        return None
    answers = [at for at, each in enumerate(row.messages) if each.role == ASSISTANT and each.weight]
    if not answers:
        return None
    return row.messages[: answers[-1]], row.messages[answers[-1]].content


def _prompt_ids(runtime: Runtime, row: Row, prompt: Messages, *, raw: bool) -> list[int]:
    """As the server makes them; a raw prompt as text completion does."""
    assert isinstance(row, ChatRow)
    if raw:
        return runtime.tokenizer.encode(prompt[-1].content)
    return runtime.chat_prompt([each.for_template() for each in prompt], tools=row.tools)


def _written(example: Example, encoder: Encoder) -> str:
    """An answer that is no text but a call, as the template writes it."""
    return encoder.tokenizer.decode([int(each) for each in example.ids[example.learned]])


def _reading(runtime: Runtime, example: Example) -> GenerationRequest:
    """Reads and writes nothing: what is wanted are the log probabilities of what is read."""
    sampling = replace(runtime.defaults, max_tokens=0, prompt_logprobs=0)
    return GenerationRequest([int(each) for each in example.ids], sampling)


def _nats(example: Example, generation: Generation) -> float:
    found = None
    for delta in generation:
        if delta.error is not None:
            raise FormatError(f"The model cannot be scored: {delta.error}.")
        found = delta.prompt_logprobs if found is None else found
    assert found is not None
    pairs = zip(found, example.learned, strict=True)
    return -sum(each.logprob for each, is_learned in pairs if is_learned and each is not None)


def _answer(generation: Generation) -> tuple[str, bool]:
    """The text, and whether it ended by itself."""
    text, stopped = "", False
    for delta in generation:
        if delta.error is not None:
            raise FormatError(f"The model cannot be scored: {delta.error}.")
        text += delta.text
        stopped = delta.finish_reason == "stop" and delta.stop_reason is None
    return text, stopped
