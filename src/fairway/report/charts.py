"""Plots as inline SVG: bars over a log axis, errors along the layers, points by size, parts of a whole.

Colours and letters come from the page's stylesheet, so both themes work. The rule: every mark carries
its numbers as a title, and every plot says in words what it shows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairway.report.html import Child, Html, el, join

WIDTH, HEIGHT = 720, 260
LEFT, RIGHT, TOP, BOTTOM = 56, 44, 24, 32
NUM_COLOURS = 8


@dataclass(frozen=True)
class Mark:
    """A value on the x axis that is pointed out."""

    x: float
    label: str


@dataclass(frozen=True)
class Point:
    """One value with its limit."""

    name: str
    value: float
    limit: float
    kind: str


@dataclass(frozen=True)
class Place:
    """One named point of a plane."""

    name: str
    x: float
    y: float
    is_chosen: bool = False


@dataclass(frozen=True)
class LogAxis:
    """From values to places; zero and less stand at the lower end."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        low, high = math.log10(self.low), math.log10(self.high)
        share = (math.log10(max(value, self.low)) - low) / (high - low) if high > low else 0.5
        return self.start + min(1.0, share) * (self.end - self.start)

    def ticks(self) -> list[float]:
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        step = max(1, math.ceil((last - first) / 8))
        powers = (10.0**exponent for exponent in range(first, last + 1, step))
        return [power for power in powers if self.low <= power * 1.0001 and power <= self.high * 1.0001]


def _upward(values: Sequence[float]) -> LogAxis:
    """Whole powers of ten around what is neither nothing nor infinite, from the ground up."""
    drawn = [value for value in values if value > 0 and math.isfinite(value)] or [1e-6, 1.0]
    low, high = math.floor(math.log10(min(drawn)) - 0.3), math.ceil(math.log10(max(drawn)))
    return LogAxis(10.0**low, 10.0 ** max(high, low + 1), HEIGHT - BOTTOM, TOP)


def histogram(edges: Sequence[float], counts: Sequence[int], marks: Sequence[Mark], label: str) -> Html:
    """Shares per bin (`counts` has one more than `edges`, for what lies outside) and their running sum."""
    used = [index for index, number in enumerate(counts) if number]
    first, last = max(0, min(used) - 2), min(len(counts) - 1, max(used) + 2)
    bounds = [edges[0] / (edges[1] / edges[0]), *edges, edges[-1] * (edges[1] / edges[0])]
    axis = LogAxis(bounds[first], bounds[last + 1], LEFT, WIDTH - RIGHT)
    total, most = sum(counts), max(counts)
    bars, line, seen = [], [], sum(counts[:first])
    for index in range(first, last + 1):
        x0, x1 = axis.place(bounds[index]), axis.place(bounds[index + 1])
        seen += counts[index]
        line.append((x1, _y(seen / total)))
        height = counts[index] / most * (HEIGHT - TOP - BOTTOM)
        share = f"{counts[index]:,} tokens, {counts[index] / total:.1%}"
        title = f"{bounds[index]:.2g} to {bounds[index + 1]:.2g}: {share}"
        bars.append(_bar(x0 + 0.5, HEIGHT - BOTTOM - height, x1 - x0 - 1, height, title, "bar"))
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in [(axis.place(bounds[first]), _y(0)), *line])
    curve = el("polyline", points=points, class_="curve")
    return _svg(label, _grid_shares(most / total), _x_ticks(axis), bars, curve, _marks(axis, marks))


def along(
    names: Sequence[str], bars: Sequence[float], line: Sequence[float], limit: float, label: str
) -> Html:
    """One bar and one point of a line per name over a log axis, and a line for the limit."""
    axis = _upward([*bars, *line, limit])
    step = (WIDTH - LEFT - RIGHT) / len(names)
    drawn, points = [], []
    for index, name in enumerate(names):
        x = LEFT + index * step
        own = bars[index] if math.isfinite(bars[index]) else axis.high
        top = axis.place(own)
        title = f"{name}: own {bars[index]:.3g}, grown {line[index]:.3g}"
        kind = "bar bad" if not bars[index] <= limit else "bar"
        drawn.append(_bar(x + step * 0.15, top, step * 0.7, max(1.0, HEIGHT - BOTTOM - top), title, kind))
        points.append(
            f"{x + step / 2:.1f},{axis.place(line[index] if math.isfinite(line[index]) else axis.high):.1f}"
        )
    every = max(1, len(names) // 12)
    labels = [
        _text(LEFT + (i + 0.5) * step, HEIGHT - BOTTOM + 16, name.removeprefix("layer "), "middle")
        for i, name in enumerate(names)
        if (i % every == 0 and i + every < len(names)) or i == len(names) - 1
    ]
    ruler = _y_line(axis.place(limit), "limit", f"limit {limit:.2g}")
    grid = [_y_line(axis.place(tick), "grid", _power(tick)) for tick in axis.ticks()]
    return _svg(label, grid, drawn, el("polyline", points=" ".join(points), class_="curve"), ruler, labels)


def scatter(points: Sequence[Point], kinds: Sequence[str], label: str) -> Html:
    """Points in order over a log axis, coloured by kind; beyond its limit is marked."""
    axis = _upward([value for point in points for value in (point.value, point.limit)])
    step = (WIDTH - LEFT - RIGHT) / len(points)
    dots: list[Html] = []
    for index, point in enumerate(points):
        value, limit = point.value, point.limit
        x, bad = LEFT + (index + 0.5) * step, not value <= limit
        y = axis.place(value if math.isfinite(value) else axis.high)
        if limit > 0:
            ruler = f"M{x - step / 2:.1f} {axis.place(limit):.1f}h{step:.1f}"
            dots.append(el("path", d=ruler, class_="limit"))
        mark = f"dot k{kinds.index(point.kind) % NUM_COLOURS}" + (" bad" if bad else "")
        title = el("title", f"{point.name} ({point.kind}): {value:.3g}, limit {limit:.3g}")
        dots.append(el("circle", title, cx=f"{x:.1f}", cy=f"{y:.1f}", r=5 if bad else 3, class_=mark))
    grid = [_y_line(axis.place(tick), "grid", _power(tick)) for tick in axis.ticks()]
    return _svg(label, grid, dots)


def frontier(places: Sequence[Place], curve: Sequence[tuple[float, float]], label: str) -> Html:
    """Named points and a curve beside them: bytes along, and up what they cost over a log axis."""
    least, most = min(place.x for place in places), max(place.x for place in places)
    spare = (most - least) * 0.08 or 1.0
    low, high = least - spare, most + spare
    axis = _upward([place.y for place in places])

    def across(x: float) -> float:
        return LEFT + (x - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    shown = [(x, y) for x, y in curve if low <= x <= high and axis.low <= y <= axis.high]
    points = " ".join(f"{across(x):.1f},{axis.place(y):.1f}" for x, y in shown)
    dots: list[Html] = []
    for place in places:
        x, y = across(place.x), axis.place(place.y)
        title = el("title", f"{place.name}: {place.x / 1e6:,.2f} MB, {place.y:.3g}")
        kind, radius = ("dot k1", 6) if place.is_chosen else ("dot k0", 4)
        dots.append(el("circle", title, cx=f"{x:.1f}", cy=f"{y:.1f}", r=radius, class_=kind))
        dots.append(_text(x + 8, y - 6, place.name))
    grid = [_y_line(axis.place(tick), "grid", _power(tick)) for tick in axis.ticks()]
    ticks = (least + (most - least) * part / 4 for part in range(5))
    sizes = [_text(across(x), HEIGHT - BOTTOM + 16, f"{x / 1e6:,.3g} MB", "middle") for x in ticks]
    return _svg(label, grid, el("polyline", points=points, class_="curve"), dots, sizes)


def parts(values: Mapping[str, float], label: str, form: str = "{:.1%}") -> Html:
    """One bar divided in proportion, and its legend."""
    total = sum(values.values()) or 1.0
    pieces, legend = [], []
    for index, (name, value) in enumerate(values.items()):
        share, colour = value / total, f"k{index % NUM_COLOURS}"
        text = f"{name} {form.format(share)}"
        pieces.append(el("span", class_=f"piece {colour}", style=f"flex-grow:{share:.5f}", title=text))
        legend.append(el("li", el("i", class_=f"swatch {colour}"), text))
    bar = el("div", pieces, class_="parts", role="img", aria_label=label)
    return join(bar, el("ul", legend, class_="legend"))


def legend(*entries: tuple[str, str]) -> Html:
    """(class of the mark, what it means)."""
    return el(
        "ul", (el("li", el("i", class_=f"swatch {mark}"), text) for mark, text in entries), class_="legend"
    )


def _svg(label: str, *children: Child) -> Html:
    title = el("title", label)
    return el(
        "svg", title, *children, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=label, class_="plot"
    )


def _bar(x: float, y: float, width: float, height: float, title: str, kind: str) -> Html:
    place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "width": f"{max(width, 0.5):.1f}", "height": f"{height:.1f}"}
    return el("rect", el("title", title), class_=kind, **place)


def _text(x: float, y: float, content: str, anchor: str = "start", kind: str = "tick") -> Html:
    return el("text", content, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, class_=kind)


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _y_line(y: float, kind: str, label: str) -> Html:
    line = el("line", x1=LEFT, x2=WIDTH - RIGHT, y1=f"{y:.1f}", y2=f"{y:.1f}", class_=kind)
    if kind == "limit":
        return join(line, _text(WIDTH - RIGHT - 4, y - 5, label, "end", "tick limit-text"))
    return join(line, _text(LEFT - 8, y + 4, label, "end"))


def _grid_shares(most: float) -> list[Html]:
    """Left: share of tokens in a bin; right: the running sum."""
    lines = []
    for quarter in range(5):
        y = _y(quarter / 4)
        lines.append(_y_line(y, "grid", f"{most * quarter / 4:.1%}"))
        lines.append(_text(WIDTH - RIGHT + 8, y + 4, f"{quarter * 25} %"))
    return lines


def _x_ticks(axis: LogAxis) -> list[Html]:
    return [_text(axis.place(t), HEIGHT - BOTTOM + 16, _power(t), "middle") for t in axis.ticks()]


def _power(value: float) -> str:
    """A power of ten as a tick: 100, 1, 0.1, 1e-5."""
    return f"{value:g}".replace("e-0", "e-") if value < 1e-3 else f"{value:g}"


def _marks(axis: LogAxis, marks: Sequence[Mark]) -> list[Html]:
    """Labels stand above the plot, the last on the right of its line and the others on the left."""
    drawn: list[Html] = []
    ordered = sorted(marks, key=lambda each: each.x)
    for mark in ordered:
        x = axis.place(mark.x)
        ends = {"x1": f"{x:.1f}", "x2": f"{x:.1f}"}
        drawn.append(el("line", y1=TOP - 8, y2=HEIGHT - BOTTOM, class_="mark", **ends))
        is_last = mark is ordered[-1]
        drawn.append(
            _text(
                x + (4 if is_last else -4),
                TOP - 2,
                mark.label,
                "start" if is_last else "end",
                "tick mark-text",
            )
        )
    return drawn
