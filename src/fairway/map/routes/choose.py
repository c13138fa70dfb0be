"""From all candidates to one answer: who wins for a goal, two others with what they trade, why not the rest.

Pure functions over routes. The rule: the shortest way wins unless a longer one pays: every hop must bring
a tenth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from fairway.errors import DoesNotFit, UsageError
from fairway.map.plan import size
from fairway.map.planner import PLEASANT_TOKENS_PER_S
from fairway.map.routes.candidates import NATIVE, Finder, Refusal
from fairway.map.routes.devices import Device
from fairway.map.routes.fit import ways_to_fit
from fairway.map.routes.question import Budget, Question
from fairway.map.routes.route import Answer, Route

HOP_SHARE = 0.9
LIBRARY_SHARE = 0.5
"""What is no server has to be twice as good: somebody must write the server."""
EXACT_BITS = 8
"""Weights of so many bits answer next to as the original does."""
PATIENT_TOKENS_PER_S = 10
"""What each user of the cheapest route gets at least."""
NEAR = {"measured": 0.02, "assumed": 0.1}
"""Merits this near are equal by what the speed is based on: the order of engines.toml decides."""


def find_routes(finder: Finder, devices: Sequence[Device]) -> Answer:
    """Raises `DoesNotFit` with three ways to fit, or `UsageError` for a budget below everything."""
    routes: list[Route] = []
    refusals: list[Refusal] = []
    for device in devices:
        for each in finder.candidates(device):
            if isinstance(each, Route):
                routes.append(each)
            else:
                refusals.append(each)
    if not routes:
        raise _does_not_fit(finder, devices, refusals)
    question = finder.question
    affordable = _within(routes, question.budget, finder.bundle.name)
    ranked = rank(affordable, question)
    best = ranked[0]
    others = _others(ranked)
    return Answer(
        model=finder.bundle.name,
        goal=question.goal or "a good answer at a pleasant speed",
        best=best,
        alternatives=tuple((route, trade(best, route)) for route in others),
        not_chosen=_not_chosen(
            best, others, ranked, refusals, [each for each in routes if each not in affordable]
        ),
        num_considered=len(routes) + len(refusals),
    )


# --- ranking


def rank(routes: Sequence[Route], question: Question) -> list[Route]:
    """The best first. Routes of equal merit stay in the order in which they were found."""
    order = {id(route): number for number, route in enumerate(routes)}
    scored = sorted(((merit(route, question), route) for route in routes), key=lambda pair: -pair[0][1])
    scored.sort(key=lambda pair: pair[0][0])
    ranked: list[Route] = []
    while scored:
        (tier, top), first = scored[0]
        margin = NEAR[first.speed.basis if first.speed else "measured"] * abs(top)
        near = [pair for pair in scored if pair[0][0] == tier and pair[0][1] >= top - margin]
        _, chosen = min(near, key=lambda pair: order[id(pair[1])])
        ranked.append(chosen)
        scored = [pair for pair in scored if pair[1] is not chosen]
    return ranked


def merit(route: Route, question: Question) -> tuple[int, float]:
    """(tier, number): a lower tier wins, then the greater number."""
    goal, speed = question.goal, route.speed
    if goal == "smallest":
        return 0, -float(route.need.total_bytes)
    if speed is None:
        return 2, HOP_SHARE ** len(route.hops)
    penalty = HOP_SHARE ** len(route.hops) * (LIBRARY_SHARE if route.is_library else 1.0)
    penalty /= route.num_devices
    if goal == "latency":
        return 0, penalty / speed.answer_s(question.load(route.context))
    if goal == "throughput":
        return 0, penalty * speed.output_tokens_per_s
    if goal == "cheapest":
        if route.cost is None:
            return 2, penalty * speed.output_tokens_per_s
        is_enough = speed.per_user >= PATIENT_TOKENS_PER_S
        return (0, -route.cost.per_month / penalty) if is_enough else (1, -route.cost.per_million / penalty)
    return _pleasant_tier(route), penalty * speed.decode_tokens_per_s


def _pleasant_tier(route: Route) -> int:
    """This processor's own plan and GPUs that answer well, then its variants that do, then the rest."""
    assert route.speed is not None
    if route.engine == NATIVE and route.plan is not None and route.plan.settings.weights == "auto":
        return 0
    is_good = route.bits >= EXACT_BITS and route.speed.per_user >= PLEASANT_TOKENS_PER_S
    if not is_good:
        return 2
    return 1 if route.device.kind == "cpu" else 0


# --- others


def _others(ranked: Sequence[Route]) -> list[Route]:
    """Another runtime, and other weights: what a person would ask about next."""
    best, found = ranked[0], list[Route]()
    other_runtime = next((each for each in ranked[1:] if each.engine != best.engine), None)
    other_weights = next(
        (
            each
            for each in ranked[1:]
            if each.engine == best.engine and (each.weights, each.device.id) != (best.weights, best.device.id)
        ),
        None,
    )
    for each in (other_weights, other_runtime, *ranked[1:]):
        if each is not None and each not in found and len(found) < 2 and not _same(each, best):
            found.append(each)
    return sorted(found, key=ranked.index)


def _same(one: Route, other: Route) -> bool:
    return (one.engine, one.weights, one.device.id) == (other.engine, other.weights, other.device.id)


def trade(best: Route, other: Route) -> str:
    """What one gets and gives up with the other."""
    words: list[str] = []
    if best.speed is not None and other.speed is not None:
        words += _ratio(
            other.speed.decode_tokens_per_s / best.speed.decode_tokens_per_s, "as fast in writing"
        )
    words += _ratio(other.need.total_bytes / best.need.total_bytes, "the memory")
    if other.bits < min(best.bits, EXACT_BITS) - 0.5:
        words.append("coarser weights")
    elif other.bits > best.bits + 0.5 and best.bits < EXACT_BITS + 1:
        words.append("more exact weights")
    if len(other.hops) != len(best.hops):
        number = f"{len(other.hops)} hop{'' if len(other.hops) == 1 else 's'}"
        words.append(f"{number} instead of {len(best.hops)}")
    if other.is_library:
        words.append("a library, not a server")
    if best.cost is not None and other.cost is not None and best.cost.per_million:
        words += _ratio(other.cost.per_million / best.cost.per_million, "the cost a token")
    if other.speed is not None and other.speed.basis == "assumed" and best.engine == NATIVE:
        words.append("a speed that nobody measured here")
    return ", ".join(words) or "the same, by another program"


def _ratio(value: float, what: str) -> list[str]:
    return [] if 0.95 < value < 1.05 else [f"{value:.2g}x {what}"]


def _not_chosen(
    best: Route,
    others: Sequence[Route],
    ranked: Sequence[Route],
    refusals: Iterable[Refusal],
    too_dear: Iterable[Route],
) -> dict[str, str]:
    shown = {best.tool, *(route.tool for route in others)}
    reasons: dict[str, str] = {}
    for route in ranked:
        if route.tool not in shown:
            reasons.setdefault(route.tool, f"{route.weights}: {trade(best, route)}")
    for route in too_dear:
        if route.tool not in shown and route.cost is not None:
            reasons.setdefault(
                route.tool, f"costs ${route.cost.per_month:,.0f} a month on {route.device.name}"
            )
    for refusal in refusals:
        if refusal.tool not in shown:
            reasons.setdefault(refusal.tool, refusal.reason)
    return reasons


# --- limits


def _within(routes: Sequence[Route], budget: Budget | None, model: str) -> list[Route]:
    if budget is None:
        return list(routes)
    priced = [route for route in routes if route.cost is not None]
    if not priced:
        raise UsageError(
            f"--budget {budget.dollars:g} cannot be checked: no price is known for {routes[0].device.name}.",
            hint="Say what it costs: --price DOLLARS_PER_HOUR.",
        )
    found = [route for route in priced if _price(route, budget) <= budget.dollars]
    if found:
        return found
    cheapest = min(priced, key=lambda route: _price(route, budget))
    raise UsageError(
        f"Nothing that runs {model} costs {budget} or less; the cheapest is {cheapest.name} "
        f"at ${_price(cheapest, budget):,.2f}.",
        hint=f"Try --budget {_price(cheapest, budget) * 1.01:.2f}/{budget.per}, or another --on.",
    )


def _price(route: Route, budget: Budget) -> float:
    assert route.cost is not None
    prices: Mapping[str, float] = {
        "h": route.cost.per_hour, "month": route.cost.per_month, "M": route.cost.per_million
    }  # fmt: skip
    return prices[budget.per]


def _does_not_fit(finder: Finder, devices: Sequence[Device], refusals: Sequence[Refusal]) -> DoesNotFit:
    sized = [each for each in refusals if each.need is not None and each.device is not None]
    where = " or ".join(device.name for device in devices)
    if sized:
        least = min(sized, key=lambda each: each.need.total_bytes if each.need else 0)
        assert least.need is not None and least.device is not None
        text = (
            f"{finder.bundle.name} needs {size(least.need.total_bytes)} of memory at least, and "
            f"{least.device.name} has {size(least.device.memory_bytes)}."
        )
    else:
        own = next((each.reason for each in refusals if "GB" in each.reason), None)
        text = own or f"Nothing that Fairway knows runs {finder.bundle.name} on {where}."
    ways = ways_to_fit(finder, devices)
    return DoesNotFit(text, hint=f"Ways to fit: {'; '.join(ways)}." if ways else None)
