"""The report of `quantize --auto`: what was chosen and why, every mix as a point, and where the bits went."""

from __future__ import annotations

import numpy as np

from fairway.autoquantize.choose import Candidate, Choice
from fairway.autoquantize.explain import bits_by_role, bits_per_weight, explanation, rate, types_by_group
from fairway.convert.preflight import size
from fairway.report.charts import Place, frontier, legend
from fairway.report.html import Child, Html, el
from fairway.report.page import facts, page, section, table

CURVE_POINTS = 200


def auto_page(choice: Choice) -> str:
    """The whole document."""
    title = f"{choice.task.name} made smaller"
    return page(
        title,
        "Quantisation",
        el("h1", title),
        el("p", f"{size(choice.chosen.num_bytes)} of {size(choice.task.largest)}", class_="lead"),
        section("Why this mix", el("ul", (el("li", line) for line in explanation(choice)))),
        section("Size and quality", _plot(choice)),
        section(
            "Mixes",
            _mixes(choice),
            note=f"On {choice.num_tokens:,} tokens of {choice.text}, on this machine.",
        ),
        section("Types by layer", _types(choice), note="Layers in a row share a type; bits are of a weight."),
    )


def _plot(choice: Choice) -> Html:
    front = choice.front
    places = np.linspace(0, len(front) - 1, min(len(front), CURVE_POINTS)).round().astype(int)
    curve = [(float(front.num_bytes[place]), float(front.divergences[place])) for place in places]
    points = [_place(each, is_chosen=each is choice.chosen) for each in choice.candidates]
    label = f"KL divergence by size of {len(points)} mixes, and the best that is predicted at every size"
    entries = (("k0", "measured"), ("k1", "chosen"), ("line", "the best at every size, predicted"))
    return el("figure", frontier(points, curve, label), legend(*entries))


def _place(each: Candidate, *, is_chosen: bool) -> Place:
    return Place(each.name, float(each.num_bytes), each.divergence, is_chosen)


def _mixes(choice: Choice) -> Html:
    rows: list[tuple[Child, ...]] = [
        (
            el("b", f"{each.name} ←") if each is choice.chosen else each.name,
            size(each.num_bytes),
            f"{bits_per_weight(choice, each):.2f}",
            rate(each.measured.tokens_per_s),
            f"{each.measured.likeness.perplexity_change:+.2%}",
            f"{each.divergence:.3g}",
            f"{each.measured.likeness.kl_p99:.3g}",
            f"{each.measured.flips:.2%}",
        )
        for each in choice.candidates
    ]
    head = ("mix", "size", "bits", "tokens/s", "perplexity", "KL mean", "KL p99", "top tokens changed")
    return table(head, rows, numbers=7)


def _types(choice: Choice) -> Html:
    bits = bits_by_role(choice)
    return facts(
        *((f"{name}, {bits[name]:.2f} bits", types) for name, types in types_by_group(choice).items())
    )
