"""A curve of a training run as an SVG file that stands alone: of every update, and of held-out examples."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fairway.report.html import Child, Html, el

WIDTH, HEIGHT = 720, 320
LEFT, RIGHT, TOP, BOTTOM = 56, 24, 36, 40
MOST_POINTS = 1000
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#555}.grid{stroke:#ddd}polyline{fill:none;stroke-width:1.5}"
    ".learned{stroke:#2f6f9f}.held-out{stroke:#c2571a;stroke-width:2.5}circle{fill:#c2571a}"
)
Points = Sequence[tuple[int, float]]


def loss_chart(learned: Points, held_out: Points) -> str:
    """Points are (update, loss)."""
    return figure_chart("loss", learned, held_out)


def figure_chart(name: str, learned: Points, held_out: Points) -> str:
    """Points are (update, value of the figure `name`)."""
    values = [value for _, value in (*learned, *held_out)]
    low, high = min(0.0, *values, 0.0) * 1.05, max(0.0, *values, 0.0) * 1.05
    high = high if high > low else low + 1.0
    last = max(step for step, _ in (*learned, *held_out)) or 1

    def place(point: tuple[int, float]) -> tuple[float, float]:
        step, value = point
        x = LEFT + step / last * (WIDTH - LEFT - RIGHT)
        return x, HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    marks = [
        el("circle", el("title", f"update {step:,}: {value:.4f}"), cx=f"{x:.1f}", cy=f"{y:.1f}", r=3)
        for (step, value), (x, y) in zip(held_out, map(place, held_out), strict=True)
    ]
    drawn = [
        _grid(low, high),
        _line([place(each) for each in _thinned(learned)], "learned"),
        _line([place(each) for each in held_out], "held-out"),
        marks,
        _text(LEFT, HEIGHT - 14, "update 0", "start"),
        _text(WIDTH - RIGHT, HEIGHT - 14, f"{last:,}", "end"),
        _text(LEFT, 20, _title(name, learned, held_out), "start"),
    ]
    view = {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "xmlns": "http://www.w3.org/2000/svg"}
    return el("svg", el("title", name.capitalize()), el("style", Html(STYLE)), *drawn, **view) + "\n"


def _thinned(points: Points) -> Points:
    """Means of neighbours, so that a long run stays a small file."""
    size = math.ceil(len(points) / MOST_POINTS) or 1
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(group[-1][0], sum(loss for _, loss in group) / len(group)) for group in groups]


def _title(name: str, learned: Points, held_out: Points) -> str:
    text = f"{name} of the updates (thin), last {learned[-1][1]:.3f}" if learned else "no updates"
    if held_out:
        text += f"; held-out {name} (thick), {held_out[0][1]:.3f} before, {held_out[-1][1]:.3f} after"
    return text


def _grid(low: float, high: float) -> list[Child]:
    drawn: list[Child] = []
    for quarter in range(5):
        y = HEIGHT - BOTTOM - quarter / 4 * (HEIGHT - TOP - BOTTOM)
        drawn.append(el("line", x1=LEFT, x2=WIDTH - RIGHT, y1=f"{y:.1f}", y2=f"{y:.1f}", class_="grid"))
        drawn.append(_text(LEFT - 8, y + 4, f"{low + (high - low) * quarter / 4:.2f}", "end"))
    return drawn


def _line(points: Sequence[tuple[float, float]], kind: str) -> Html:
    return el("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points), class_=kind)


def _text(x: float, y: float, content: str, anchor: str) -> Html:
    return el("text", content, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)
