"""The report of a proof: verdict, both sides, every check, and plots of what was measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

from fairway.proof.coverage import CoverageEvidence
from fairway.proof.layers import LayersEvidence
from fairway.proof.logits import BIN_EDGES, LogitsEvidence
from fairway.proof.record import Acceptance, Proof, Subject
from fairway.proof.tensor_differences import TensorEvidence
from fairway.proof.verdict import Check
from fairway.report.charts import NUM_COLOURS, Mark, Point, along, histogram, legend, parts, scatter
from fairway.report.html import Child, Html, el
from fairway.report.page import count, facts, page, section, size, table

T = TypeVar("T")

SIGNS = {"passed": "✓", "failed": "✗", "not applicable": "–"}
MOST_ROWS = 3000


def verify_page(proof: Proof) -> str:
    """The whole document."""
    evidence = proof.evidence
    return page(
        f"{proof.source.name} and {proof.target.name}: {'passed' if proof.verdict.passed else 'failed'}",
        "verify",
        _verdict(proof),
        _sides(proof),
        section("Checks", el("ul", map(_check, proof.verdict.checks), class_="checks")),
        given(evidence.logits, _predictions),
        given(evidence.layers, _layers),
        given(evidence.tensors, _errors),
        given(evidence.coverage, _types),
        given(evidence.tensors, _tensors),
    )


def given(value: T | None, function: Callable[[T], Child]) -> Child:
    """The function of what there is, and nothing of nothing."""
    return None if value is None else function(value)


def _verdict(proof: Proof) -> Html:
    status = "passed" if proof.verdict.passed else "failed"
    seal = el("div", SIGNS[status], class_=f"seal {status}", aria_hidden="true")
    lead = f"{proof.thresholds.kind} hop, measured in {proof.seconds:.1f} s on {proof.made_at[:10]}"
    heading = el("div", el("h1", proof.verdict.headline), el("p", lead, class_="lead"))
    accepted = given(proof.accepted, _accepted)
    return el("div", el("div", seal, heading, class_="verdict"), accepted)


def _accepted(found: Acceptance) -> Html:
    text = f"Accepted by {found.by} on {found.at[:10]} although checks failed: {found.reason}"
    return el("p", text, class_="banner")


def _sides(proof: Proof) -> Html:
    arrow = el("div", el("b", "→"), proof.thresholds.kind, class_="hop")
    return el("div", _side(proof.source), arrow, _side(proof.target), class_="sides")


def _side(subject: Subject) -> Html:
    line = f"{subject.container}, {count(subject.num_parameters)} parameters, {size(subject.weight_bytes)}"
    return el(
        "div", el("h3", subject.name), el("p", line), el("p", subject.path, class_="path"), class_="side"
    )


def _check(check: Check) -> Html:
    status = "skipped" if check.status == "not applicable" else check.status
    limit = check.limit and el("small", f" · asked for: {check.limit}")
    return el(
        "li",
        el("span", SIGNS[check.status], class_="sign", aria_label=check.status),
        el("b", check.name),
        el("div", check.figure, limit),
        check.details and el("ul", (el("li", text) for text in check.details)),
        class_=status,
    )


def _predictions(found: LogitsEvidence) -> Html:
    windows = "1 window" if found.num_windows == 1 else f"{found.num_windows} windows"
    where = f"{found.num_tokens:,} tokens in {windows} of {found.window_tokens}"
    change = f"{found.source_perplexity:.4g} became {found.target_perplexity:.4g}"
    nats = f"mean {found.kl_mean:.3g}, 99 % below {found.kl_p99:.3g}, largest {found.kl_max:.3g} nats"
    figures = facts(
        ("text", f"{found.text}: {where}"),
        ("perplexity", f"{change} ({found.perplexity_change:+.2%})"),
        ("KL divergence", nats),
        ("same top token", f"{found.same_top:.2%}"),
        ("largest difference", f"{found.max_difference:.3g} between two logits"),
    )
    plot: Child = el("p", "Every prediction is bit for bit the same.", class_="note")
    if found.kl_max > 0 and math.isfinite(found.kl_mean):
        marks = (
            Mark(found.kl_mean, f"mean {found.kl_mean:.2g}"),
            Mark(found.kl_p99, f"99 % {found.kl_p99:.2g}"),
        )
        label = f"Tokens by KL divergence in nats: mean {found.kl_mean:.3g}, 99 % below {found.kl_p99:.3g}"
        entries = (("", "share of tokens, by KL divergence in nats"), ("line", "running sum"))
        plot = el("figure", histogram(BIN_EDGES, found.kl_counts, marks, label), legend(*entries))
    return section("Predictions", figures, el("div", plot, class_="gap"))


def _layers(found: LayersEvidence) -> Html:
    note = (
        "Own: what a layer does to the source's hidden states, so that each answers for itself. "
        "Grown: each model on its own way."
    )
    if not any(row.own or row.grown for row in found.stages):
        return section("Layers", el("p", "Every hidden state is bit for bit the same.", class_="note"))
    names = [row.stage for row in found.stages]
    own, grown = [row.own for row in found.stages], [row.grown for row in found.stages]
    label = (
        f"Relative error of {len(names)} stages; largest own error {max(own):.3g}, limit {found.limit:.3g}"
    )
    entries = (("", "own relative error"), ("line", "grown relative error"), ("bad", "beyond the limit"))
    plot = el("figure", along(names, own, grown, found.limit, label), legend(*entries))
    return section("Layers", plot, _departure(found), note=note)


def _departure(found: LayersEvidence) -> Child:
    first = found.departure
    if first is None:
        return None
    steps = next(row.steps for row in found.stages if row.stage == first.stage)
    rows: list[tuple[Child, ...]] = [(step.step, step.kind, f"{step.error:.3g}") for step in steps]
    summary = el("summary", f"The steps of {first.stage}, where it departs")
    return el(
        "details",
        summary,
        table(("step", "kind", "relative error"), rows, numbers=1),
        class_="more",
        open=True,
    )


def _errors(found: TensorEvidence) -> Child:
    if not any(row.relative for row in found.tensors):
        return None
    points = [Point(row.name, row.relative, row.limit, row.target_type) for row in found.tensors]
    kinds = _kinds(found)
    entries = [(f"k{index % NUM_COLOURS}", kind) for index, kind in enumerate(kinds)]
    label = (
        f"Relative error of {len(points)} tensors in the order of the model, with the limits of their types"
    )
    drawn = legend(*entries, ("bad", "beyond the limit of its type (dashed)"))
    note = "In the order of the model. Exact tensors lie on the ground."
    return section("Error of every tensor", el("figure", scatter(points, kinds, label), drawn), note=note)


def _kinds(found: TensorEvidence) -> list[str]:
    """Target types, the one with most bytes first, as the coverage lists them."""
    sums: dict[str, int] = {}
    for row in found.tensors:
        sums[row.target_type] = sums.get(row.target_type, 0) + row.num_bytes
    return sorted(sums, key=lambda kind: -sums[kind])


def _types(found: CoverageEvidence) -> Html:
    rows: list[tuple[Child, ...]] = [
        (name, f"{share.num_tensors:,}", count(share.num_parameters), size(share.num_bytes),
         f"{share.num_bytes * 8 / share.num_parameters:.2f}" if share.num_parameters else "–")
        for name, share in found.types.items()
    ]  # fmt: skip
    by_bytes = {name: float(share.num_bytes) for name, share in found.types.items()}
    by_count = {name: float(share.num_parameters) for name, share in found.types.items()}
    said = found.claim or "nothing says that this model is quantised"
    note = f"{found.quantised_share:.1%} of the linear layers' weights are quantised; {said}."
    bars = el(
        "div",
        el("div", el("p", "of the bytes", class_="note"), parts(by_bytes, "Types by bytes")),
        el("div", el("p", "of the parameters", class_="note"), parts(by_count, "Types by parameters")),
        class_="pair",
    )
    head = ("type", "tensors", "parameters", "bytes", "bits each")
    return section(
        "What the target holds", bars, el("div", table(head, rows, numbers=4), class_="gap"), note=note
    )


def _tensors(found: TensorEvidence) -> Child:
    if not found.tensors:
        return None
    worst = sorted(found.tensors, key=lambda row: (row.is_within, -row.relative))[:MOST_ROWS]
    rows: list[tuple[Child, ...]] = [
        (row.name, f"{row.source_type} → {row.target_type}", " × ".join(map(str, row.shape)),
         "exact" if row.bit_exact else f"{row.max_abs:.3g}", "" if row.bit_exact else f"{row.rms:.3g}",
         "" if row.bit_exact else f"{row.relative:.3g}", "" if row.bit_exact else f"{row.cosine:.6f}")
        for row in worst
    ]  # fmt: skip
    head = ("tensor", "types", "shape", "largest", "rms", "relative", "cosine")
    summary = el("summary", f"All {len(found.tensors):,} tensors, the worst first")
    details = el("details", summary, table(head, rows, numbers=4), class_="more")
    return section("Tensors", details)
