"""The proof that a hop leaves behind: what is measured of every conversion beside its tensors.

The tokenizer battery, the template battery, what ends an answer, what the configs compute, how much was
quantised, and each tensor's error against what its type may cost. Layers and predictions need both models
in memory: `fairway verify` measures those.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from fairway.convert.check import Checked, by_type
from fairway.convert.job import Conversion
from fairway.errors import FairwayError, UnsupportedError
from fairway.formats.bundle import Bundle, TokenizerSource
from fairway.formats.digest import small_parts
from fairway.formats.modelfile import FILE_NAME
from fairway.formats.open import open_bundle
from fairway.proof.computation import compare_computations
from fairway.proof.coverage import measure_coverage
from fairway.proof.evidence import Evidence
from fairway.proof.hop import Side, default_thresholds
from fairway.proof.judge import judge
from fairway.proof.template_battery import AnsweringEvidence, compare_answering, compare_templates
from fairway.proof.thresholds import Thresholds
from fairway.proof.tokenizer_battery import compare_tokenizers
from fairway.proof.verdict import Check, Verdict, judged
from fairway.text.loader import load_tokenizer
from fairway.text.tokenizer import Tokenizer

LATER = "measured by fairway verify"


@dataclass(frozen=True)
class Gathered:
    """What is known of both sides without their weights: evidence, and the digests of the small parts."""

    evidence: Evidence
    source: Mapping[str, str]
    output: Mapping[str, str]


def gather(conversion: Conversion, output: Bundle) -> Gathered:
    """Everything but the tensors, which their own checks measure. Reads no weight."""
    return Gathered(_evidence(conversion, output), small_parts(conversion.source), small_parts(output))


def _evidence(conversion: Conversion, output: Bundle) -> Evidence:
    source, target = conversion.source, output
    ours, theirs = Side(source), Side(target)
    measures: dict[str, Callable[[], object]] = {}
    if source.tokenizer is not None and target.tokenizer is not None:
        pair = cache(partial(_tokenizers, conversion, target.tokenizer))
        measures["tokenizer"] = lambda: compare_tokenizers(*pair(), quick=True)
        measures["template"] = lambda: compare_templates(source, target, *pair())
        measures["answering"] = lambda: _answering(conversion, target)
    if _has_same_context(ours, theirs):
        measures["computation"] = lambda: compare_computations(ours, theirs)
    if not all(job.is_copy for job in conversion.jobs):
        measures["coverage"] = lambda: measure_coverage(theirs)
    return _measured(measures)


def _answering(conversion: Conversion, target: Bundle) -> AnsweringEvidence:
    """With what the Modelfiles on both sides say, where the output has one."""
    source = conversion.source
    if FILE_NAME not in conversion.sidecars:
        return compare_answering(source, target)
    written = open_bundle(target.path.parent / FILE_NAME, complete=False)
    return compare_answering(source, written, with_presets=True)


def _tokenizers(conversion: Conversion, target: TokenizerSource) -> tuple[Tokenizer, Tokenizer]:
    """Those of the pre-flight, if what was read back is what they were built from."""
    assert conversion.source.tokenizer is not None
    if conversion.tokenizers is not None and dict(target.metadata) == dict(conversion.vocabulary):
        return conversion.tokenizers
    return load_tokenizer(conversion.source.tokenizer), load_tokenizer(target)


def _has_same_context(ours: Side, theirs: Side) -> bool:
    """A context that ends early was said in the pre-flight, which compared the rest."""
    if ours.config is None or theirs.config is None:
        return False
    return ours.config.max_context == theirs.config.max_context


def _measured(measures: Mapping[str, Callable[[], object]]) -> Evidence:
    found: dict[str, Any] = {}
    notes = dict.fromkeys(("tensors", "layers", "logits", "embeddings"), LATER)
    errors: dict[str, str] = {}
    for name, measure in measures.items():
        try:
            found[name] = measure()
        except UnsupportedError as reason:
            notes[name] = reason.message
        except FairwayError as error:
            errors[name] = error.message
    return Evidence(**found, notes=notes, errors=errors)


def verdict_of(
    conversion: Conversion, output: Bundle, evidence: Evidence, checked: Sequence[Checked]
) -> Verdict:
    """All checks that were made, the tensors' among them."""
    thresholds = default_thresholds(Side(conversion.source), Side(output))
    made = [check for check in judge(evidence, thresholds).checks if check.status != "not applicable"]
    return Verdict((*made, _tensors(checked, thresholds)))


def _tensors(checked: Sequence[Checked], thresholds: Thresholds) -> Check:
    """Each type's relative error against what such rounding may cost."""
    rows = by_type(checked)
    details = []
    for types, row in rows.items():
        source, target = types.split(" -> ")
        limit = max(thresholds.tensor_limit(source, target), SHIFTED)
        error = 0.0 if row["equal"] else row["relative_error"]
        if error > limit:
            details.append(f"{types}: relative error {error:.3g}, at most {limit:.3g} is usual")
    figure = f"{sum(row['tensors'] for row in rows.values()):,} tensors read back"
    return judged("tensors", not details, figure, "equal, or rounded as the type must", tuple(details))


SHIFTED = 1e-6
"""Gemma's norms are stored plus one, in float32."""


def summary(verdict: Verdict, checked: Sequence[Checked]) -> dict[str, Any]:
    """What the lineage keeps."""
    return {
        "headline": verdict.headline,
        "passed": verdict.passed,
        "checks": {check.name: f"{check.status}: {check.figure}"[:200] for check in verdict.checks},
        "tensors": by_type(checked),
    }
