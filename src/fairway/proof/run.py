"""`run`: gathers every kind of evidence about one hop, judges it, and returns the `Proof`.

    proof = run(source_bundle, target_bundle, ProofSettings())
    if not proof.may_publish: ...

Nothing is written and nothing raised because two models differ: that is what the verdict says.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from fairway import __version__
from fairway.errors import FairwayError, FormatError, UnsupportedError
from fairway.formats.bundle import Bundle
from fairway.proof.coverage import measure_coverage
from fairway.proof.evidence import Evidence
from fairway.proof.hop import Side, default_thresholds
from fairway.proof.judge import judge
from fairway.proof.record import Proof, Subject, utc_now
from fairway.proof.template_battery import compare_answering, compare_templates
from fairway.proof.tensor_differences import compare_tensors
from fairway.proof.thresholds import Thresholds
from fairway.proof.tokenizer_battery import compare_tokenizers
from fairway.text.loader import load_tokenizer
from fairway.text.tokenizer import Tokenizer

Progress = Callable[[int, int, str], None]
"""Called with (done, total, what)."""


def _silent(done: int, total: int, what: str) -> None:
    """For proofs that nobody watches."""


class NotMeasurable(FairwayError):
    """This evidence does not exist for these two models."""


@dataclass(frozen=True)
class ProofSettings:
    """What to measure, and against which limits."""

    quick: bool = False
    """Fewer strings and less text."""
    claim: str | None = None
    """The quantised type that the target was asked to have, for the coverage check."""
    thresholds: Thresholds | None = None
    """None: by the kind of hop, told from the stored types."""


def run(
    source: Bundle, target: Bundle, settings: ProofSettings | None = None, progress: Progress = _silent
) -> Proof:
    """The proof that `target` is `source`, or what the difference is."""
    settings = settings or ProofSettings()
    start, made_at = time.monotonic(), utc_now()
    ours, theirs = Side(source), Side(target)
    thresholds = settings.thresholds or default_thresholds(ours, theirs)
    evidence = _Gathering(ours, theirs, settings, thresholds, progress).evidence()
    return Proof(
        source=Subject.of(source),
        target=Subject.of(target),
        thresholds=thresholds,
        evidence=evidence,
        verdict=judge(evidence, thresholds),
        made_at=made_at,
        seconds=round(time.monotonic() - start, 3),
        fairway_version=__version__,
    )


@dataclass
class _Gathering:
    """One pass over all kinds of evidence."""

    source: Side
    target: Side
    settings: ProofSettings
    thresholds: Thresholds
    progress: Progress

    def evidence(self) -> Evidence:
        found: dict[str, Any] = {}
        gather: dict[str, Callable[[], object]] = {
            "tokenizer": lambda: compare_tokenizers(*self.tokenizers, quick=self.settings.quick),
            "template": lambda: compare_templates(self.source.bundle, self.target.bundle, *self.tokenizers),
            "answering": lambda: compare_answering(self.source.bundle, self.target.bundle),
            "coverage": lambda: measure_coverage(self.target, self.settings.claim),
            "tensors": lambda: compare_tensors(self.source, self.target, self.thresholds, self.progress),
        }
        notes: dict[str, str] = {}
        errors: dict[str, str] = {}
        for name, measure in gather.items():
            try:
                found[name] = measure()
            except (NotMeasurable, UnsupportedError) as reason:
                notes[name] = reason.message
            except FairwayError as error:
                errors[name] = error.message
        return replace(Evidence(**found), notes=notes, errors=errors)

    @cached_property
    def tokenizers(self) -> tuple[Tokenizer, Tokenizer]:
        ours, theirs = self.source.bundle.tokenizer, self.target.bundle.tokenizer
        if ours is None:
            raise NotMeasurable("the source has no tokenizer")
        if theirs is None:
            raise FormatError("The target has lost its tokenizer.")
        return load_tokenizer(ours), load_tokenizer(theirs)
