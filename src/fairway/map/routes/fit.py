"""What to do when a model does not fit: the three cheapest ways, settings before money."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from fairway.map.planner import Planner
from fairway.map.routes.devices import Device, rentable
from fairway.map.routes.route import Route

if TYPE_CHECKING:
    from fairway.map.routes.candidates import Finder

WAYS = 3
SHORTEST = 512


def ways_to_fit(finder: Finder, devices: Sequence[Device]) -> list[str]:
    """At most three, each of which works; empty where nothing does."""
    return list(islice(_ways(finder, devices), WAYS))


def _ways(finder: Finder, devices: Sequence[Device]) -> Iterator[str]:
    here = next((device for device in devices if device.machine is not None), None)
    own = [] if here is None else _native_ways(finder, here)
    yield from own[: WAYS - 1]
    if here is None:
        yield from _settings(finder, devices)
    yield from _larger(finder)


def _native_ways(finder: Finder, device: Device) -> list[str]:
    """What `fairway up` would offer."""
    assert device.machine is not None
    planner = Planner(finder.bundle, finder.config, device.machine, finder.question.settings)
    weights, _ = planner.weights()
    kv_type = planner.kv_type(weights)
    return list(planner.ways_to_fit(weights, kv_type, planner.context(weights, kv_type)))


def _settings(finder: Finder, devices: Sequence[Device]) -> Iterator[str]:
    """A shorter context, fewer people, coarser weights."""
    question = finder.question
    context = min(question.settings.context or 4096, finder.config.max_context)
    while context > SHORTEST:
        context //= 2
        shorter = replace(question, settings=replace(question.settings, context=context))
        if _fits(replace(finder, question=shorter), devices):
            yield f"--context {context}"
            break
    if question.users > 1 and _fits(replace(finder, question=replace(question, users=1)), devices):
        yield "--users 1"
    if question.settings.weights != "auto":
        free = replace(question, settings=replace(question.settings, weights="auto"))
        if _fits(replace(finder, question=free), devices):
            yield "leave --weights away"


def _larger(finder: Finder) -> Iterator[str]:
    """Devices to rent, the cheapest that carries it first."""
    priced = [device for device in rentable(finder.catalogue) if device.usd_per_hour is not None]
    for device in sorted(priced, key=lambda each: each.usd_per_hour or 0.0):
        if routes := _fits(finder, [device]):
            count = min(route.num_devices for route in routes)
            cost = (device.usd_per_hour or 0.0) * count
            several = f"{count} x " if count > 1 else ""
            yield f"--on {device.id} ({several}{device.name}, ${cost:.2f}/h at {device.price_source})"


def _fits(finder: Finder, devices: Sequence[Device]) -> list[Route]:
    return [each for device in devices for each in finder.candidates(device) if isinstance(each, Route)]
