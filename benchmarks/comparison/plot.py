"""A report as an SVG: one panel per column, one bar per engine, ours in colour. No library needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from benchmarks.comparison.columns import LOAD
from benchmarks.comparison.numbers import number
from benchmarks.comparison.results import Report, Row

PANEL_WIDTH, BAR_HEIGHT, BAR_GAP = 330, 16, 7
NAMES_WIDTH, HEAD_HEIGHT, MARGIN, VALUE_WIDTH = 190, 62, 16, 48
OURS, OTHERS, INK, WHISKER = "#0b7a75", "#b8c0cc", "#1f2933", "#52606d"


def svg(report: Report) -> str:
    rows = [row for row in report.rows if row.values]
    titles = {key: title for key, title in report.titles.items() if key != LOAD}
    width = NAMES_WIDTH + PANEL_WIDTH * len(titles) + 2 * MARGIN
    height = HEAD_HEIGHT + (BAR_HEIGHT + BAR_GAP) * len(rows) + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="system-ui, sans-serif" font-size="12" fill="{INK}">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        text(MARGIN, MARGIN + 12, f"{report.model}, tokens per second, {report.date}", 'font-size="15"'),
        *names(rows),
    ]
    for index, (key, title) in enumerate(titles.items()):
        parts += panel(rows, key, title, MARGIN + NAMES_WIDTH + PANEL_WIDTH * index)
    return "\n".join([*parts, "</svg>"]) + "\n"


def names(rows: Sequence[Row]) -> Iterator[str]:
    for index, row in enumerate(rows):
        weight = 'font-weight="600"' if row.is_ours else ""
        yield text(MARGIN, top(index) + BAR_HEIGHT - 4, row.name, weight)


def panel(rows: Sequence[Row], key: str, title: str, left: int) -> Iterator[str]:
    yield text(left, HEAD_HEIGHT - 6, title, 'font-weight="600"')
    largest = max((max(row.values.get(key, [0.0])) for row in rows), default=0.0) or 1.0
    scale = (PANEL_WIDTH - VALUE_WIDTH - MARGIN) / largest
    for index, row in enumerate(rows):
        yield from bar(row, key, left, top(index), scale)


def bar(row: Row, key: str, left: int, y: int, scale: float) -> Iterator[str]:
    """The median, with a line from the lowest to the highest value."""
    median, spread = row.median(key), row.spread(key)
    if median is None or spread is None:
        yield text(left, y + BAR_HEIGHT - 4, "not measured", f'fill="{WHISKER}"')
        return
    colour = OURS if row.is_ours else OTHERS
    yield f'<rect x="{left}" y="{y}" width="{median * scale:.1f}" height="{BAR_HEIGHT}" fill="{colour}"/>'
    low, high, middle = left + spread[0] * scale, left + spread[1] * scale, y + BAR_HEIGHT / 2
    yield f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}" stroke="{WHISKER}"/>'
    yield text(int(high) + 5, y + BAR_HEIGHT - 4, number(median))


def top(index: int) -> int:
    return HEAD_HEIGHT + MARGIN // 2 + (BAR_HEIGHT + BAR_GAP) * index


def text(x: int, y: int, content: str, more: str = "") -> str:
    return f'<text x="{x}" y="{y}" {more}>{escape(content)}</text>'
