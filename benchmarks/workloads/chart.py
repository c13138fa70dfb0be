"""Two kinds of SVG without a library: lines over a doubling scale, and groups of bars."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT, MARGIN, LEFT, TOP, LEGEND = 720, 400, 46, 62, 48, 20
COLOURS = ("#0b7a75", "#e07a1f", "#4c6fb1", "#9a3b6d", "#7a8794", "#b8a11f")
INK, GRID = "#1f2933", "#d9dee4"
BAR, GAP, NAMES, VALUE = 16, 7, 260, 70

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Frame:
    """From values to places; x doubles from tick to tick, y begins at 0."""

    xs: Sequence[float]
    top: float

    def x(self, value: float) -> float:
        low, high = math.log2(min(self.xs)), math.log2(max(self.xs))
        share = (math.log2(value) - low) / (high - low) if high > low else 0.5
        return LEFT + share * (WIDTH - LEFT - MARGIN)

    def y(self, value: float) -> float:
        return HEIGHT - MARGIN - value / self.top * (HEIGHT - MARGIN - TOP)


def lines(title: str, x_label: str, series: Mapping[str, Points]) -> str:
    """One line per name, a dot per value."""
    known = {name: points for name, points in series.items() if points}
    xs = sorted({x for points in known.values() for x, _ in points})
    frame = Frame(xs, round_up(max((y for points in known.values() for _, y in points), default=1.0)))
    height = HEIGHT + LEGEND * len(known)
    parts = [*head(title, WIDTH, height), *grid(frame), text(WIDTH / 2, HEIGHT - 8, x_label, "middle")]
    for index, (name, points) in enumerate(known.items()):
        parts += line(frame, points, COLOURS[index % len(COLOURS)])
        parts += legend(index, name)
    return "\n".join([*parts, "</svg>"]) + "\n"


def bars(title: str, values: Mapping[str, float], form: str = "{:.3g}") -> str:
    """One bar per name, the length in proportion."""
    largest = max(values.values(), default=0.0) or 1.0
    height = TOP + (BAR + GAP) * len(values) + MARGIN // 2
    parts = list(head(title, WIDTH, height))
    for index, (name, value) in enumerate(values.items()):
        y, length = TOP + (BAR + GAP) * index, max(0.0, value) / largest * (WIDTH - NAMES - VALUE)
        parts.append(text(NAMES - 8, y + BAR - 4, name, "end"))
        parts.append(f'<rect x="{NAMES}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{COLOURS[0]}"/>')
        parts.append(text(NAMES + length + 6, y + BAR - 4, form.format(value)))
    return "\n".join([*parts, "</svg>"]) + "\n"


def head(title: str, width: int, height: int) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="system-ui, sans-serif" font-size="12" fill="{INK}">'
    )
    yield f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    yield f'<text x="16" y="26" font-size="15">{escape(title)}</text>'


def grid(frame: Frame) -> Iterator[str]:
    for tick in range(5):
        value = frame.top * tick / 4
        y = frame.y(value)
        yield f'<line x1="{LEFT}" x2="{WIDTH - MARGIN}" y1="{y:.1f}" y2="{y:.1f}" stroke="{GRID}"/>'
        yield text(LEFT - 6, y + 4, f"{value:g}", "end")
    for x in frame.xs:
        yield text(frame.x(x), HEIGHT - MARGIN + 16, short(x), "middle")


def line(frame: Frame, points: Points, colour: str) -> Iterator[str]:
    places = [(frame.x(x), frame.y(y)) for x, y in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    for x, y in places:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'


def legend(index: int, name: str) -> Iterator[str]:
    y = HEIGHT + LEGEND * index
    yield f'<rect x="{LEFT}" y="{y}" width="14" height="10" fill="{COLOURS[index % len(COLOURS)]}"/>'
    yield text(LEFT + 20, y + 9, name)


def text(x: float, y: float, content: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'


def short(value: float) -> str:
    """512, 1 k, 32 k"""
    return f"{value / 1024:g} k" if value >= 1024 else f"{value:g}"


def round_up(value: float) -> float:
    """The next 1, 2, 4 or 8 times a power of ten, so that quarters of it read well."""
    if value <= 0:
        return 1.0
    power = 10 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 8, 10) if step * power >= value)
