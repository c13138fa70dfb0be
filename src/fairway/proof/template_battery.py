"""The template battery: byte-identical prompts for every conversation, or the same refusal.

Also compares what ends an answer and what the authors recommend for sampling. The rule: a model
without a template is compared with the one that it would be served with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from fairway.errors import FairwayError
from fairway.formats.bundle import Bundle, Preset
from fairway.proof.conversations import CONVERSATIONS, Conversation
from fairway.text.chat_template import ChatTemplate
from fairway.text.loader import load_template, load_tokenizer
from fairway.text.tokenizer import Tokenizer

CLOCK = datetime(2026, 3, 4, 5, 6, 7)
"""What `strftime_now` says to both sides."""
NUM_SHOWN = 4
CONTEXT_CHARS = 40


@dataclass(frozen=True)
class PromptDifference:
    """One conversation, and both prompts around the first byte that differs."""

    conversation: str
    position: int
    source_text: str
    target_text: str


@dataclass(frozen=True)
class TemplateEvidence:
    """`source_has_one` and `target_has_one`: whether the bundle itself brings a template."""

    num_conversations: int
    num_refused: int
    """By both, with the same words."""
    num_differing: int
    first: tuple[PromptDifference, ...]
    source_has_one: bool
    target_has_one: bool

    @property
    def is_same(self) -> bool:
        return not self.num_differing and self.source_has_one == self.target_has_one


@dataclass(frozen=True)
class AnsweringEvidence:
    """End-of-text ids; generation defaults and presets that differ: name -> (source, target)."""

    source_end_of_text_ids: tuple[int, ...]
    target_end_of_text_ids: tuple[int, ...]
    defaults: Mapping[str, tuple[Any, Any]]


def compare_templates(
    source: Bundle, target: Bundle, source_tokenizer: Tokenizer, target_tokenizer: Tokenizer
) -> TemplateEvidence:
    """Renders every conversation twice."""
    ours = _template(source, source_tokenizer)
    theirs = _template(target, target_tokenizer)
    first: list[PromptDifference] = []
    num_refused = num_differing = 0
    for name, conversation in CONVERSATIONS.items():
        (prompt, refused), (other, other_refused) = _render(ours, conversation), _render(theirs, conversation)
        if (prompt, refused) == (other, other_refused):
            num_refused += refused
            continue
        num_differing += 1
        if len(first) < NUM_SHOWN:
            first.append(_difference(name, prompt, other))
    return TemplateEvidence(
        num_conversations=len(CONVERSATIONS),
        num_refused=num_refused,
        num_differing=num_differing,
        first=tuple(first),
        source_has_one=source.chat_template is not None,
        target_has_one=target.chat_template is not None,
    )


def compare_answering(source: Bundle, target: Bundle, *, with_presets: bool = False) -> AnsweringEvidence:
    """`with_presets`: also what a Modelfile adds, which no other container can hold."""
    ours, theirs = asdict(source.generation), asdict(target.generation)
    if "gguf" in (source.container, target.container):
        # GGUF has no key for it; it bounds an answer's length and changes none.
        ours["max_tokens"] = theirs["max_tokens"] = None
    if with_presets:
        ours |= _preset(source)
        theirs |= _preset(target)
    return AnsweringEvidence(
        tuple(sorted(source.end_of_text_ids)),
        tuple(sorted(target.end_of_text_ids)),
        {name: (ours[name], theirs[name]) for name in ours if not _equal(ours[name], theirs[name])},
    )


def _preset(bundle: Bundle) -> dict[str, Any]:
    """What a Modelfile adds to every conversation; adapters change the model and are only counted."""
    preset = bundle.preset or Preset()
    names = ("system", "messages", "seed", "presence_penalty", "frequency_penalty")
    stop = tuple(each for each in preset.stop if each not in _ends(bundle))
    return {name: getattr(preset, name) for name in names} | {
        "stop": stop,
        "adapters": len(preset.adapters),
    }


def _ends(bundle: Bundle) -> set[str]:
    """Spellings of the ids that end an answer, which as stop strings change nothing."""
    if bundle.tokenizer is None or bundle.preset is None or not bundle.preset.stop:
        return set()
    tokenizer = load_tokenizer(bundle.tokenizer)
    return {tokenizer.token_text(each) for each in bundle.end_of_text_ids}


def _template(bundle: Bundle, tokenizer: Tokenizer) -> ChatTemplate:
    return load_template(bundle.chat_template, tokenizer, clock=lambda: CLOCK)


def _render(template: ChatTemplate, conversation: Conversation) -> tuple[str, bool]:
    """The prompt, or the words of a refusal and True."""
    messages, more = conversation
    try:
        return template.render(messages, **more), False
    except FairwayError as error:
        return error.message, True


def _difference(name: str, ours: str, theirs: str) -> PromptDifference:
    pairs = enumerate(zip(ours, theirs, strict=False))
    position = next((i for i, (a, b) in pairs if a != b), min(len(ours), len(theirs)))
    start = max(0, position - CONTEXT_CHARS // 2)
    around = slice(start, start + CONTEXT_CHARS)
    return PromptDifference(name, position, ours[around], theirs[around])


def _equal(a: Any, b: Any) -> bool:  # noqa: ANN401 (numbers, texts, lists of texts)
    """GGUF keeps float32."""
    if not (isinstance(a, float) and isinstance(b, float)):
        return bool(a == b)
    return abs(a - b) <= 1e-6 * max(abs(a), abs(b))
