"""A route as data: hops, runtime, weights, memory, speed and cost, and what is said about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairway.map.estimate import Need
from fairway.map.plan import Plan, duration, rate, size
from fairway.map.routes.devices import Device
from fairway.map.routes.lanes import Hop
from fairway.map.routes.question import HOURS_PER_MONTH
from fairway.map.speed import Speed

MEMORY_ERROR = {"measured": 0.05, "assumed": 0.2}


@dataclass(frozen=True)
class Cost:
    """In dollars, at full load; None without a price."""

    per_hour: float
    per_month: float
    per_million: float
    source: str

    @classmethod
    def of(cls, device: Device, count: int, speed: Speed | None) -> Cost | None:
        if device.usd_per_hour is None or speed is None:
            return None
        hour = device.usd_per_hour * count
        million = hour / 3600 / speed.output_tokens_per_s * 1e6
        return cls(hour, hour * HOURS_PER_MONTH, million, device.price_source)


@dataclass(frozen=True)
class Route:
    """From a checkpoint to something that answers."""

    engine: str
    """An id of `engines.toml`."""
    tool: str
    """Its name."""
    device: Device
    num_devices: int
    weights: str
    bits: float
    """Of a weight, on the average."""
    kv_type: str
    context: int
    hops: tuple[Hop, ...]
    need: Need
    """Of one device."""
    speed: Speed | None
    """None where the device's limits are not known."""
    cost: Cost | None
    commands: tuple[str, ...]
    plan: Plan | None = None
    """For the native engine on this machine."""
    is_library: bool = False
    """Whether it answers in a program of one's own only."""

    @property
    def name(self) -> str:
        where = f"{self.num_devices} x {self.device.name}" if self.num_devices > 1 else self.device.name
        return f"{self.tool}, {self.weights}, on {where}"

    @property
    def memory_error(self) -> float:
        return MEMORY_ERROR["measured" if self.engine == "native" else "assumed"]

    @property
    def fits(self) -> bool:
        return self.need.total_bytes <= self.device.memory_bytes

    def to_dict(self) -> dict[str, Any]:
        cost = None if self.cost is None else vars(self.cost)
        return {
            "runtime": self.tool,
            "engine": self.engine,
            "device": self.device.name,
            "num_devices": self.num_devices,
            "weights": self.weights,
            "bits_per_weight": self.bits,
            "kv_type": self.kv_type,
            "context": self.context,
            "threads": self.plan.threads if self.plan else None,
            "hops": [hop.to_dict() for hop in self.hops],
            "memory": self.need.to_dict() | {"error": self.memory_error},
            "speed": self.speed.to_dict() if self.speed else None,
            "cost": cost,
            "commands": list(self.commands),
        }

    def lines(self) -> list[tuple[str, str]]:
        """(what, decision) for people."""
        rows = [("runtime", self.name), ("hops", self._hops())]
        if self.plan is not None:
            rows += [row for row in self.plan.lines() if row[0] in ("weights", "context", "threads")]
        rows.append(("memory", self._memory()))
        if self.speed is not None:
            rows.append(("speed", self._speed(self.speed)))
        rows.append(("cost", self._cost()))
        rows += [("note", note) for note in self.device.notes]
        return rows

    def _hops(self) -> str:
        if not self.hops:
            return "none: it is read as it is"
        return ", then ".join(
            f"{hop.reads} to {hop.writes} ({hop.keeps}; proof: {hop.proof})" for hop in self.hops
        )

    def _memory(self) -> str:
        each = " each" if self.num_devices > 1 else ""
        taken = self.need.adapter_bytes
        adapters = f", adapters {size(taken)}" if taken else ""
        return (
            f"{size(self.need.total_bytes)} ±{self.memory_error:.0%}{each}: weights "
            f"{size(self.need.weight_bytes)}, cache {size(self.need.kv_bytes)}{adapters}; "
            f"{size(self.device.memory_bytes)} free"
        )

    def _speed(self, speed: Speed) -> str:
        users = f" for {speed.users} at once" if speed.users > 1 else ""
        each = f" ({rate(speed.per_user)} each)" if speed.users > 1 else ""
        is_measured = speed.basis == "measured"
        kind = "from limits and shares that were measured" if is_measured else "assumed, unproven"
        first, then = duration(speed.first_token_s), rate(speed.decode_tokens_per_s)
        return f"first token after {first}, then {then} tokens/s{each}{users}, ±{speed.error:.0%} ({kind})"

    def _cost(self) -> str:
        if self.cost is None:
            return "no price known; --price DOLLARS_PER_HOUR says what this machine costs"
        return (
            f"${self.cost.per_million:.2f} a million tokens at full load, "
            f"${self.cost.per_month:,.0f} a month (${self.cost.per_hour:.2f}/h: {self.cost.source})"
        )


@dataclass(frozen=True)
class Answer:
    """The route, two others and what they trade, and why not the rest."""

    model: str
    goal: str
    best: Route
    alternatives: tuple[tuple[Route, str], ...]
    not_chosen: Mapping[str, str]
    """Tool -> why not."""
    num_considered: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "goal": self.goal,
            "best": self.best.to_dict(),
            "alternatives": [route.to_dict() | {"trade": trade} for route, trade in self.alternatives],
            "why_not": dict(self.not_chosen),
        }
