"""`run`: gathers every kind of evidence about one hop, judges it, and returns the `Proof`.

    proof = run(source_bundle, target_bundle, ProofSettings())
    if not proof.may_publish: ...

Nothing is written and nothing raised because two models differ: that is what the verdict says.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from fairway import __version__
from fairway.errors import FairwayError, UnsupportedError
from fairway.formats.bundle import Bundle
from fairway.formats.quantized_folder import with_weights
from fairway.proof.computation import compare_computations
from fairway.proof.coverage import measure_coverage
from fairway.proof.evidence import Evidence
from fairway.proof.hop import Side, default_thresholds
from fairway.proof.judge import judge
from fairway.proof.record import Proof, Subject, utc_now
from fairway.proof.running import NotMeasurable, Pair
from fairway.proof.settings import ProofSettings
from fairway.proof.template_battery import compare_answering, compare_templates
from fairway.proof.tensor_differences import compare_tensors
from fairway.proof.tokenizer_battery import compare_tokenizers

__all__ = ["ProofSettings", "run"]

Progress = Callable[[int, int, str], None]
"""Called with (done, total, what)."""


def _silent(done: int, total: int, what: str) -> None:
    """For proofs that nobody watches."""


def run(
    source: Bundle, target: Bundle, settings: ProofSettings | None = None, progress: Progress = _silent
) -> Proof:
    """The proof that `target` is `source`, or what the difference is.

    Raises `UnsupportedError` or `FormatError` for packed weights that cannot be told apart.
    """
    settings = settings or ProofSettings()
    source, target = with_weights(source), with_weights(target)
    start, made_at = time.monotonic(), utc_now()
    ours, theirs = Side(source), Side(target)
    thresholds = settings.thresholds or default_thresholds(ours, theirs)
    pair = Pair(ours, theirs, settings, thresholds, progress)
    evidence = _gather(pair)
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


def _gather(pair: Pair) -> Evidence:
    """Cheap evidence first. What cannot be measured is a note, what broke is an error."""
    source, target, settings = pair.source, pair.target, pair.settings
    measures: dict[str, Callable[[], object]] = {
        "tokenizer": lambda: compare_tokenizers(*pair.tokenizers, quick=settings.quick),
        "template": lambda: compare_templates(source.bundle, target.bundle, *pair.tokenizers),
        "answering": lambda: compare_answering(source.bundle, target.bundle, with_presets=True),
        "computation": lambda: compare_computations(source, target),
        "coverage": lambda: measure_coverage(target, settings.claim),
        "tensors": lambda: compare_tensors(source, target, pair.thresholds, pair.progress),
        "layers": pair.layers,
        "logits": pair.logits,
        "embeddings": pair.embeddings,
    }
    found: dict[str, Any] = {}
    notes: dict[str, str] = {}
    errors: dict[str, str] = {}
    for name, measure in measures.items():
        try:
            found[name] = measure()
        except (NotMeasurable, UnsupportedError) as reason:
            notes[name] = reason.message
        except FairwayError as error:
            errors[name] = error.message
    return Evidence(**found, notes=notes, errors=errors)
