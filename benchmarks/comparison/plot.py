"""A report as an SVG: one panel per column, one bar per engine, ours in colour. No library needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from benchmarks.comparison.columns import BATCH_KEYS
from benchmarks.comparison.numbers import number, times
from benchmarks.comparison.results import Report, Row, best, ratio

NAMES_WIDTH, PANEL_WIDTH, PANEL_GAP, VALUE_WIDTH = 188, 180, 24, 44
MARGIN, TITLE_HEIGHT, BAR_HEIGHT, ROW_HEIGHT, FOOT_HEIGHT = 24, 84, 15, 23, 34
PAPER, INK, PALE, OURS, OTHERS, RULE = "#ffffff", "#1f2933", "#6b7785", "#0b7a75", "#c3cad4", "#e4e8ed"
SPREAD = "#3e4c59"
FONT = 'font-family="system-ui, -apple-system, Segoe UI, Roboto, sans-serif" font-size="12"'


def svg(report: Report) -> str:
    rows = [row for row in report.rows if any(row.values.get(key) for key in BATCH_KEYS)]
    titles = {key: title for key, title in report.titles.items() if key in BATCH_KEYS}
    width = 2 * MARGIN + NAMES_WIDTH + len(titles) * (PANEL_WIDTH + PANEL_GAP) - PANEL_GAP
    height = top(len(rows)) + FOOT_HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" {FONT} fill="{INK}">',
        f'<rect width="{width}" height="{height}" fill="{PAPER}"/>',
        text(MARGIN, MARGIN + 10, f"{report.model}: tokens per second", 'font-size="17" font-weight="600"'),
        text(MARGIN, MARGIN + 28, subtitle(report), f'fill="{PALE}"'),
        *names(rows),
    ]
    for index, (key, title) in enumerate(titles.items()):
        left = MARGIN + NAMES_WIDTH + (PANEL_WIDTH + PANEL_GAP) * index
        parts += panel(rows, key, title, left)
    return "\n".join([*parts, "</svg>"]) + "\n"


def subtitle(report: Report) -> str:
    machine = f"{report.machine.get('threads')} threads, {report.machine.get('processor')}"
    state = "" if report.is_quiet else ", busy machine"
    return (
        f"{machine}, {report.date[:10]}{state}. Longer is better; the thin line goes from lowest to highest."
    )


def names(rows: Sequence[Row]) -> Iterator[str]:
    for index, row in enumerate(rows):
        weight = f'font-weight="600" fill="{OURS}"' if row.is_ours else ""
        yield text(MARGIN, top(index) + BAR_HEIGHT - 3, row.name, weight)


def panel(rows: Sequence[Row], key: str, title: str, left: int) -> Iterator[str]:
    """A title, a bar for every engine, and what our best is beside the best peer."""
    yield text(left, TITLE_HEIGHT - 8, title, 'font-weight="600"')
    yield (f'<line x1="{left}" x2="{left}" y1="{TITLE_HEIGHT}" y2="{top(len(rows))}" stroke="{RULE}"/>')
    largest = max((max(row.values.get(key, [0.0])) for row in rows), default=0.0) or 1.0
    scale = (PANEL_WIDTH - VALUE_WIDTH) / largest
    for index, row in enumerate(rows):
        yield from bar(row, key, left, top(index), scale)
    ours = best([row for row in rows if row.is_ours], key)
    if ours and (value := ratio(ours, rows, key)):
        label = f"{ours.name}: {times(value)} the best peer"
        yield text(left, top(len(rows)) + 15, label, f'font-size="11" fill="{PALE}"')


def bar(row: Row, key: str, left: int, y: int, scale: float) -> Iterator[str]:
    """The median, with a line from the lowest to the highest value."""
    median, spread = row.median(key), row.spread(key)
    if median is None or spread is None:
        yield text(left + 5, y + BAR_HEIGHT - 3, "not measured", f'fill="{PALE}" font-size="11"')
        return
    colour, weight = (OURS, 'font-weight="600"') if row.is_ours else (OTHERS, "")
    yield (
        f'<rect class="bar" x="{left}" y="{y}" width="{max(1.0, median * scale):.1f}" '
        f'height="{BAR_HEIGHT}" rx="2" fill="{colour}"/>'
    )
    low, high, middle = left + spread[0] * scale, left + spread[1] * scale, y + BAR_HEIGHT / 2
    if high - low > 1:
        yield f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}" stroke="{SPREAD}"/>'
    yield text(int(high) + 6, y + BAR_HEIGHT - 3, number(median), weight)


def top(index: int) -> int:
    return TITLE_HEIGHT + 4 + ROW_HEIGHT * index


def text(x: int, y: int, content: str, more: str = "") -> str:
    return f'<text x="{x}" y="{y}" {more}>{escape(content)}</text>'
