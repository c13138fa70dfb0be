"""From evidence to a verdict: one small pure function per check.

Measures nothing. The rule: what is shown as figure and limit is what was compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from fairway.proof.computation import ComputationEvidence
from fairway.proof.coverage import CoverageEvidence
from fairway.proof.embeddings import EmbeddingsEvidence
from fairway.proof.evidence import Evidence
from fairway.proof.layers import LayersEvidence
from fairway.proof.logits import LogitsEvidence
from fairway.proof.template_battery import AnsweringEvidence, TemplateEvidence
from fairway.proof.tensor_differences import TensorEvidence
from fairway.proof.thresholds import Thresholds
from fairway.proof.tokenizer_battery import TokenizerEvidence
from fairway.proof.verdict import Check, Verdict, judged, not_applicable

LAYERS = "layers"
NUM_NAMED = 5
Judge = Callable[[Any, Thresholds], Check]


def judge(evidence: Evidence, thresholds: Thresholds) -> Verdict:
    """Every check in the order of `JUDGES`."""
    checks = []
    for field, (name, function) in JUDGES.items():
        found = getattr(evidence, field)
        if field in evidence.errors:
            checks.append(Check(name, "failed", evidence.errors[field]))
        elif found is None:
            checks.append(not_applicable(name, evidence.notes.get(field, "not measured")))
        else:
            checks.append(function(found, thresholds))
    causes = cause(evidence)
    with_cause = [replace(c, details=(*c.details, *causes)) if c.name == LAYERS else c for c in checks]
    return Verdict(tuple(with_cause))


def cause(evidence: Evidence) -> tuple[str, ...]:
    """What is wrong with the first step that departs: its tensor, a number of its config, or neither."""
    first = evidence.layers.departure if evidence.layers else None
    if first is None:
        return ()
    tensors = evidence.tensors.beyond if evidence.tensors else ()
    steps = evidence.computation.differences if evidence.computation else ()
    found = [f"{row.name} differs" for row in tensors if row.name.startswith(f"{first.step}.")]
    found += [f"{row.parameter} {row.source} became {row.target}" for row in steps if row.step == first.step]
    if not found:
        return ("its weights and its numbers are within their limits: it only passes an error on",)
    return (f"the cause: {', '.join(found)}",)


def tokenizer(found: TokenizerEvidence, _: Thresholds) -> Check:
    details = [
        f"{shown(row.text)} ({row.kind}): {_ids(row.source_ids)} became {_ids(row.target_ids)}"
        for row in found.first
    ]
    details += [
        f"id {row.token_id} writes {shown(row.target_text)} instead of {shown(row.source_text)}"
        for row in found.first_pieces
    ]
    details += _changes(found.roles)
    if found.num_unnormalised:
        details.append(
            f"{found.num_unnormalised:,} strings that are not in Unicode's composed form (NFC) differ: the "
            "source composes them, the target's format cannot say so; compose text before it is encoded"
        )
    figure = f"{found.num_strings:,} strings, identical ids"
    if not found.is_same:
        strings = f"{found.num_differing:,} of {found.num_strings:,} strings"
        figure = f"{strings} and {found.num_pieces_differing:,} ids differ"
    return judged("tokenizer", found.is_same, figure, "identical", tuple(details))


def template(found: TemplateEvidence, _: Thresholds) -> Check:
    details = [
        f"{row.conversation}, character {row.position}: "
        f"{shown(row.source_text)} became {shown(row.target_text)}"
        for row in found.first
    ]
    if found.source_has_one != found.target_has_one:
        details.insert(0, f"only the {'source' if found.source_has_one else 'target'} brings a template")
    figure = f"{found.num_conversations} prompts, identical bytes"
    if not found.source_has_one and not found.target_has_one:
        figure += " (neither brings a template)"
    if found.num_differing:
        figure = f"{found.num_differing} of {found.num_conversations} prompts differ"
    elif details:
        figure = "template lost" if found.source_has_one else "template added"
    return judged("chat template", found.is_same, figure, "identical", tuple(details))


def answering(found: AnsweringEvidence, _: Thresholds) -> Check:
    ours, theirs = set(found.source_end_of_text_ids), set(found.target_end_of_text_ids)
    details = _changes(found.defaults)
    if ours != theirs:
        details.insert(0, f"end-of-text ids: {sorted(ours)} became {sorted(theirs)}")
    listed = ", ".join(map(str, sorted(ours))) or "none"
    figure = f"end-of-text ids {listed}; sampling defaults agree" if not details else f"{len(details)} differ"
    return judged("answering defaults", not details, figure, "identical", tuple(details))


def tensors(found: TensorEvidence, _: Thresholds) -> Check:
    details = [f"{name} is missing" for name in found.missing[:NUM_NAMED]]
    details += [f"{name} is in the target only" for name in found.extra[:NUM_NAMED]]
    details += [f"{name} has another shape" for name in found.misshapen[:NUM_NAMED]]
    details += [
        f"{row.name} ({row.source_type} to {row.target_type}): "
        f"relative error {row.relative:.3g}, limit {row.limit:.3g}"
        for row in found.beyond[:NUM_NAMED]
    ]
    count, exact = len(found.tensors), found.num_bit_exact
    figure = f"{exact} of {count} bit-exact"
    if exact < count:
        worst = max(found.tensors, key=lambda row: row.relative)
        figure += f", largest relative error {worst.relative:.3g} ({worst.target_type})"
    if found.missing or found.extra:
        figure += f", {len(found.missing)} missing, {len(found.extra)} extra"
    if found.not_compared:
        details.append(f"not compared: {', '.join(found.not_compared[:NUM_NAMED])}")
    asked = sorted({row.limit for row in found.tensors})
    limit = "bit-exact" if asked in ([], [0.0]) else f"at most {asked[-1]:.3g}, by type"
    return judged("tensors", found.is_within, figure, limit, tuple(details))


def computation(found: ComputationEvidence, _: Thresholds) -> Check:
    details = tuple(
        f"{row.step}: {row.parameter} {row.source} became {row.target}"
        for row in found.differences[:NUM_NAMED]
    )
    figure = f"{found.num_steps} steps, identical"
    if found.num_differing:
        figure = f"{found.num_differing} differences in {found.num_steps} steps"
    return judged("computation", not found.num_differing, figure, "identical", details)


def coverage(found: CoverageEvidence, thresholds: Thresholds) -> Check:
    if found.claim is None:
        return not_applicable("coverage", "nothing says that this model is quantised")
    ok = found.quantised_share >= thresholds.quantised_share
    details = [found.claim] if ok else [found.claim, f"still floats: {', '.join(found.floats[:NUM_NAMED])}"]
    figure = f"{found.quantised_share:.1%} of the linear layers' weights are quantised"
    return judged("coverage", ok, figure, f"at least {thresholds.quantised_share:.0%}", tuple(details))


def layers(found: LayersEvidence, _: Thresholds) -> Check:
    worst = max(found.stages, key=lambda row: row.own)
    figure = f"largest own error {worst.own:.3g} ({worst.stage}), {found.stages[-1].grown:.3g} at the end"
    if not any(row.own or row.grown for row in found.stages):
        figure = f"{len(found.stages)} stages, bit for bit the same"
    first = found.departure
    details: tuple[str, ...] = ()
    if first is not None:
        figure = f"departs in {first.stage} at {first.step}"
        details = (f"{first.step}: relative error {first.error:.3g} on the source's own hidden states",)
    return judged("layers", first is None, figure, f"at most {found.limit:.3g} each", details)


def predictions(found: LogitsEvidence, limits: Thresholds) -> Check:
    ok = found.kl_mean <= limits.kl_mean and found.same_top >= limits.same_top
    figure = f"KL {found.kl_mean:.2g} (99 %: {found.kl_p99:.2g}), {found.same_top:.2%} same top token"
    if found.max_difference == 0 and ok:
        figure = "bit for bit the same"
    details = (
        f"perplexity {found.source_perplexity:.4g} became {found.target_perplexity:.4g} "
        f"({found.perplexity_change:+.2%}) on {found.num_tokens:,} tokens of {found.text}; "
        f"largest difference of a logit {found.max_difference:.3g}",
    )
    limit = f"KL at most {limits.kl_mean:g}, same top at least {limits.same_top:.1%}"
    return judged("predictions", ok, figure, limit, details)


def embeddings(found: EmbeddingsEvidence, limits: Thresholds) -> Check:
    names = ("pooling", "normalises")
    pairs = {name: getattr(found, name) for name in names}
    details = _changes({name: pair for name, pair in pairs.items() if pair[0] != pair[1]})
    ok = found.cosine_min >= limits.embedding_cosine and not details
    figure = (
        f"cosine at least {found.cosine_min:.6f} over {found.num_texts} texts ({found.pooling[0]} pooling)"
    )
    return judged("embeddings", ok, figure, f"at least {limits.embedding_cosine:g}", tuple(details))


JUDGES: Mapping[str, tuple[str, Judge]] = {
    "tokenizer": ("tokenizer", tokenizer),
    "template": ("chat template", template),
    "answering": ("answering defaults", answering),
    "computation": ("computation", computation),
    "tensors": ("tensors", tensors),
    "coverage": ("coverage", coverage),
    "layers": (LAYERS, layers),
    "logits": ("predictions", predictions),
    "embeddings": ("embeddings", embeddings),
}
"""Field of `Evidence` -> name of the check and who judges it."""


def shown(text: str, length: int = 60) -> str:
    """A string as a reader of a terminal can see it: escaped, and cut in the middle if long."""
    escaped = text if len(text) <= length else f"{text[: length // 2]}…{text[-length // 4 :]}"
    return "'" + "".join(c if c.isprintable() else repr(c)[1:-1] for c in escaped) + "'"


def _ids(ids: tuple[int, ...] | str) -> str:
    if isinstance(ids, str):
        return f"the refusal {ids!r}"
    listed = " ".join(map(str, ids[:12]))
    return f"[{listed}{' …' if len(ids) > 12 else ''}]"


def _changes(pairs: Mapping[str, tuple[Any, Any]]) -> list[str]:
    return [f"{name}: {ours} became {theirs}" for name, (ours, theirs) in pairs.items()]
