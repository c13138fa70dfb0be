"""How a measured number is written: three digits that mean something."""

from __future__ import annotations


def number(value: float) -> str:
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def times(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}x"


def percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"
