"""From what a user wrote for MODEL to something that answers: find, open, plan, load.

Each step is shown on a screen; every decision is the planner's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fairway.cli.memory_end import within_memory
from fairway.cli.screen import Screen
from fairway.map.settings import PlanSettings

if TYPE_CHECKING:
    from fairway.formats.bundle import Bundle
    from fairway.map.plan import Plan
    from fairway.map.probe import Machine
    from fairway.runtimes.protocol import Runtime


@dataclass(frozen=True)
class Planned:
    """A model that has been found, read and planned; no weight is loaded yet."""

    name: str
    bundle: Bundle
    plan: Plan


def plan_model(
    model: str | None, settings: PlanSettings, screen: Screen, machine: Machine | None = None
) -> Planned:
    """`model` may be `name=MODEL` to serve it under another name."""
    from fairway.convert.merge_lora import with_adapters
    from fairway.formats.open import obstacle, open_bundle
    from fairway.kernels.select import choose_isa
    from fairway.map.known_limits import known_limits
    from fairway.map.planner import plan
    from fairway.map.probe import probe
    from fairway.registry.resolve import resolve

    name, model = split_name(model)
    settings = replace(settings, isa=choose_isa(settings.isa))
    with screen.step("Found the model", is_bytes=True) as progress:
        located = resolve(model, progress)
        bundle = with_adapters(open_bundle(located.path, complete=False))
        if reason := obstacle(bundle):
            raise reason
    for warning in bundle.warnings:
        screen.note(f"Note: {warning}")
    machine = machine or probe()
    known = known_limits(machine)
    planned = plan(bundle, machine, settings, known.silicon() if known else None)
    return Planned(name or located.name or bundle.name, bundle, planned)


def load(planned: Planned, screen: Screen) -> Runtime:
    """Packs the weights and starts the engine."""
    from fairway.kernels.select import why_reference
    from fairway.runtimes.loading import load_runtime

    if reason := why_reference():
        screen.note(f"Note: {reason}")
    options = planned.plan.native_options(planned.name)
    with within_memory(planned), screen.step("Prepared the weights") as progress:
        return load_runtime(planned.bundle, options, progress, screen.note)


def after(machine: Machine, plan: Plan) -> Machine:
    """What is left of a machine once a plan has been carried out."""
    taken = plan.need.total_bytes - plan.need.overhead_bytes
    return replace(machine, memory_free_bytes=max(0, machine.memory_free_bytes - taken))


def split_name(model: str | None) -> tuple[str | None, str | None]:
    """`name=MODEL` as (name, MODEL); a path that contains = is taken as a path."""
    from pathlib import Path

    if model is None or "=" not in model or Path(model).exists():
        return None, model
    name, _, rest = model.partition("=")
    return (name, rest) if name and rest and "/" not in name else (None, model)
