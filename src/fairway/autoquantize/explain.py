"""A choice in three lines: what it is, what it is better than, and where the bits went."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fairway.autoquantize.choose import AUTO, Candidate, Choice
from fairway.autoquantize.groups import role
from fairway.convert.encode import num_bytes
from fairway.convert.preflight import size


def explanation(choice: Choice) -> tuple[str, str, str]:
    return _chosen(choice), _compared(choice), _bits(choice)


def _chosen(choice: Choice) -> str:
    chosen, goal = choice.chosen, choice.goal
    if goal.budget_bytes is not None:
        why = f"the least divergence found within {size(goal.budget_bytes)}"
    else:
        why = f"the smallest file found within a divergence of {goal.quality:g}"
    what = "A mix of its own" if chosen.name == AUTO else f"The usual mix {chosen.name}"
    cost = f"KL {chosen.divergence:.2g}, {chosen.measured.flips:.1%} of top tokens changed"
    return f"{what}, {size(chosen.num_bytes)}: {cost}; {why}."


def _compared(choice: Choice) -> str:
    """With the usual mix that is nearest in size."""
    chosen = choice.chosen
    usual = [each for each in choice.candidates if each.name != AUTO and each is not chosen]
    if not usual:
        return "There is no other mix to compare it with."
    other = min(usual, key=lambda each: abs(each.num_bytes - chosen.num_bytes))
    known = f"{other.name}, the usual mix nearest in size, has {size(other.num_bytes)}"
    return f"{known} and KL {other.divergence:.2g}: this has {_change(chosen.divergence, other.divergence)}."


def _change(have: float, other: float) -> str:
    if not other or have == other:
        return "the same"
    return f"{1 - have / other:.0%} less" if have < other else f"{have / other - 1:.0%} more"


def _bits(choice: Choice) -> str:
    bits = bits_by_role(choice)
    if max(bits.values()) - min(bits.values()) < 0.05:
        return f"Every matrix has about {max(bits.values()):.1f} bits a weight."
    ordered = sorted(bits, key=lambda name: -bits[name])
    count = min(2, len(ordered) // 2)
    most, least = (
        " and ".join(f"{name} ({bits[name]:.1f} bits)" for name in names)
        for names in (ordered[:count], ordered[-count:])
    )
    return f"Measured to suffer most from rounding, and given most: {most}; least: {least}."


def bits_by_role(choice: Choice) -> dict[str, float]:
    """Bits of a weight, on average over the layers."""
    sums: dict[str, tuple[int, int]] = {}
    for job in choice.task.jobs:
        weights, stored = sums.get(role(job), (0, 0))
        count = job.rows.info.num_elements
        sums[role(job)] = (weights + count, stored + num_bytes(choice.chosen.types[job.name], count))
    return {name: 8 * stored / weights for name, (weights, stored) in sums.items()}


def bits_per_weight(choice: Choice, candidate: Candidate) -> float:
    """Of the matrices."""
    weights = sum(job.rows.info.num_elements for job in choice.task.jobs)
    return 8 * (candidate.num_bytes - choice.task.fixed_bytes) / weights


def rate(tokens_per_s: float) -> str:
    """Three digits are more than a short measurement is good for."""
    return f"{tokens_per_s:,.0f}" if tokens_per_s >= 10 else f"{tokens_per_s:.1f}"


def types_by_group(choice: Choice) -> dict[str, str]:
    """ "ffn_down" -> "Q6_K 0-1, Q4_K 2-5": short enough for a lineage."""
    layers: dict[str, list[tuple[str, str]]] = {}
    for job in choice.task.jobs:
        layer = job.name.split(".")[1] if job.name.startswith("blk.") else ""
        layers.setdefault(role(job), []).append((layer, choice.chosen.types[job.name]))
    return {name: ", ".join(_runs(each)) for name, each in layers.items()}


def _runs(layers: Iterable[tuple[str, str]]) -> Iterable[str]:
    """Layers in a row with one type."""
    runs: list[tuple[str, str, str]] = []
    for layer, kind in layers:
        if runs and runs[-1][2] == kind:
            runs[-1] = (runs[-1][0], layer, kind)
        else:
            runs.append((layer, layer, kind))
    for first, last, kind in runs:
        yield f"{kind} {first}-{last}" if first != last else f"{kind} {first}".strip()


def record_of(choice: Choice) -> dict[str, Any]:
    """What the lineage keeps."""
    goal, likeness = choice.goal, choice.chosen.measured.likeness
    asked = (
        {"budget_bytes": goal.budget_bytes} if goal.budget_bytes is not None else {"quality": goal.quality}
    )
    return asked | {
        "chosen": choice.chosen.name,
        "types": types_by_group(choice),
        "text": choice.text,
        "num_tokens": choice.num_tokens,
        "kl_mean": float(f"{likeness.kl_mean:.4g}"),
        "same_top": float(f"{likeness.same_top:.4g}"),
        "perplexity_change": float(f"{likeness.perplexity_change:.4g}"),
    }
