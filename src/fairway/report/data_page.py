"""The page of a data check: figures, lengths, findings, and examples token by token."""

from __future__ import annotations

from fairway.report.html import Child, Html, el
from fairway.report.page import count, facts, page, section, table
from fairway.tune.check import CheckReport, FileReport, Shown, ShownToken
from fairway.tune.findings import KINDS, Group

SIGNS = {"error": "✗", "warning": "!", "note": "–"}
CLASSES = {"error": "failed", "warning": "warned", "note": "skipped"}
NUM_PLACES = 8


def data_page(report: CheckReport) -> str:
    """The whole document."""
    passed = report.passed()
    names = " and ".join(file.path.name for file in report.files)
    return page(
        f"{names} for {report.model}: {'passed' if passed else 'failed'}",
        "tune",
        _verdict(report, names),
        [_file(file, report) for file in report.files],
    )


def _verdict(report: CheckReport, names: str) -> Html:
    status = "passed" if report.passed() else "failed"
    said = "can be learned" if report.passed() else "cannot be learned as it is"
    seal = el("div", "✓" if report.passed() else "✗", class_=f"seal {status}", aria_hidden="true")
    lead = f"{report.counted()}; learned: {report.learn}"
    return el(
        "div", seal, el("div", el("h1", f"{names} {said}"), el("p", lead, class_="lead")), class_="verdict"
    )


def _file(file: FileReport, report: CheckReport) -> list[Html]:
    findings = el("ul", map(_group, file.groups), class_="checks") if file.groups else None
    none = None if file.groups else el("p", "Nothing was found.", class_="note")
    parts = [
        section(file.path.name, _facts(file, report), note=str(file.path)),
        section("Findings", findings, none),
    ]
    if file.shown:
        note = "Green is learned, the rest is only read; an outline ends an answer. One shade per token."
        parts.append(section("Examples", map(_example, file.shown), note=note))
    if file.lengths is not None:
        parts.append(section("Lengths", _lengths(file), note="Examples by their number of tokens."))
    return parts


def _facts(file: FileReport, report: CheckReport) -> Html:
    share = file.num_learned / max(1, file.num_tokens)
    rows: list[tuple[str, Child]] = [
        ("shape", f"{file.shape} ({file.format})"),
        ("rows", f"{file.num_rows:,}, which make {file.num_examples:,} examples"),
        ("tokens", f"{count(file.num_tokens)}, {share:.1%} of them learned"),
        ("learn to stop", f"{file.num_stopping:,} of {file.num_examples:,} examples"),
    ]
    if file.lengths is not None:
        lengths = file.lengths
        found = f"median {lengths.median:,}, 95 % up to {lengths.p95:,}, longest {lengths.longest:,}"
        rows.append(("lengths", f"{found}; {report.max_length:,} fit" if report.max_length else found))
    if file.packing is not None:
        rows.append(("packed", str(file.packing)))
    return facts(*rows)


def _group(group: Group) -> Html:
    shown = group.first[:NUM_PLACES]
    lines = [f"{each.place}: {each.message}" if each.message else each.place for each in shown]
    if group.count > len(shown):
        lines.append(f"and {group.count - len(shown):,} more")
    rows = "1 row" if group.count == 1 else f"{group.count:,} rows"
    return el(
        "li",
        el("span", SIGNS[group.level], class_="sign", aria_label=group.level),
        el("b", rows),
        el("div", group.title),
        el("ul", (el("li", line) for line in lines)),
        class_=CLASSES[group.level],
    )


def _lengths(file: FileReport) -> Html:
    assert file.lengths is not None
    most = max(number for _, _, number in file.lengths.bins)
    rows: list[tuple[Child, ...]] = [
        (f"{low:,} to {high - 1:,}", _amount(number / most), f"{number:,}")
        for low, high, number in file.lengths.bins
    ]
    return table(("tokens", "", "examples"), rows, numbers=1)


def _amount(share: float) -> Html:
    return el("div", el("i", style=f"width:{share:.2%}"), class_="amount", aria_hidden="true")


def _example(shown: Shown) -> Html:
    learned = sum(token.learned for token in shown.tokens)
    kinds = [el("span", KINDS[kind][1], class_="chip k3") for kind in shown.findings]
    part = f", {shown.part}" if shown.part else ""
    head = el("h3", f"{shown.place}{part} · {learned:,} of {len(shown.tokens):,} tokens learned ", *kinds)
    return el("div", head, el("pre", map(_token, shown.tokens), class_="tokens"), class_="gap")


def _token(token: ShownToken) -> Html:
    kind = ("end" if token.ends else "on") if token.learned else None
    return el("i", token.text.replace("\n", "↵\n"), class_=kind)
