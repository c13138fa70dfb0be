"""The way to a tuned adapter: method, memory, time and what it costs, for each device that carries it.

Sums as `fairway tune` does them; speed from the arithmetic of a forward and a backward pass and the share
of a device's limits that PyTorch reached here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fairway.errors import DoesNotFit
from fairway.map.estimate import num_parameters
from fairway.map.plan import size
from fairway.map.routes.candidates import Finder
from fairway.map.routes.devices import Device, rentable
from fairway.map.routes.lanes import format_of
from fairway.map.routes.question import HOURS_PER_MONTH

Method = Literal["lora", "qlora", "full"]
# Of one parameter: weights; and for all weights gradients and AdamW's two moments, in float32.
# QLoRA: four bits, their scales, and embedding and head in 16.
BYTES: dict[tuple[Method, bool], float] = {
    ("lora", True): 2,
    ("lora", False): 4,
    ("full", False): 16,
    ("qlora", True): 0.75,
}
NAMES: dict[Method, str] = {"lora": "LoRA", "qlora": "QLoRA", "full": "all weights"}
RANKS: dict[Method, int] = {"lora": 0, "full": 1, "qlora": 2}
"""Which comes first where it fits: QLoRA is for what fits no other way."""
LORA_SHARE = 0.02
"""Of the parameters, with rank 16 on every linear layer; each takes 16 bytes."""
PASSES = {"lora": 4, "full": 6, "qlora": 6}
"""Operations per parameter and token: forward, and backward with or without the weights' gradients; QLoRA
computes its layers twice."""
SHARE = 0.45
"""Of the bfloat16 limit: transformers and PEFT trained 0.5 B at 145 tokens/s beside 1.0 TFLOPS."""
ERROR = 0.5
LIBRARY_BYTES = 1_300_000_000
ACTIVATION_BYTES_PER_PARAMETER = {"lora": 1.5, "full": 1.5, "qlora": 0.4}
TOKENS = 1_000_000


@dataclass(frozen=True)
class Tuning:
    """One method on one device."""

    method: Method
    bf16: bool
    device: Device
    need_bytes: int
    tokens_per_s: float | None
    command: str
    serve: str

    @property
    def name(self) -> str:
        return f"{NAMES[self.method]}{' in bf16' if self.bf16 else ''}"

    @property
    def fits(self) -> bool:
        return self.need_bytes <= self.device.memory_bytes

    @property
    def hours(self) -> float | None:
        """For a million tokens."""
        return None if self.tokens_per_s is None else TOKENS / self.tokens_per_s / 3600

    @property
    def dollars(self) -> float | None:
        if self.hours is None or self.device.usd_per_hour is None:
            return None
        return self.hours * self.device.usd_per_hour

    def to_dict(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "bf16": self.bf16,
            "device": self.device.name,
            "memory_bytes": self.need_bytes,
            "tokens_per_s": self.tokens_per_s,
            "hours_per_million_tokens": self.hours,
            "dollars_per_million_tokens": self.dollars,
            "error": ERROR,
            "command": self.command,
            "serve": self.serve,
        }


@dataclass(frozen=True)
class Tunings:
    """The way, and the others."""

    model: str
    format: str
    best: Tuning
    others: tuple[Tuning, ...]

    def to_dict(self) -> dict[str, Any]:
        others = [each.to_dict() for each in self.others]
        return {
            "model": self.model,
            "goal": "train",
            "runtime": "PyTorch",
            "format": self.format,
            "best": self.best.to_dict(),
            "alternatives": others,
        }

    def lines(self) -> list[tuple[str, str]]:
        best = self.best
        rows = [
            ("method", f"{best.name} with PyTorch, from {self.format}, on {best.device.name}"),
            ("memory", f"{size(best.need_bytes)} ±{ERROR:.0%}; {size(best.device.memory_bytes)} free"),
            ("speed", _speed(best)),
            ("run", best.command),
            ("then", best.serve),
        ]
        return rows + [("or", f"{each.name} on {each.device.name}: {_words(each)}") for each in self.others]


def plan_tuning(finder: Finder, devices: Sequence[Device]) -> Tunings:
    """Raises `DoesNotFit` with what would."""
    found = [_tuning(finder, device, *kind) for device in devices for kind in BYTES]
    fitting = [each for each in found if each.fits]
    if not fitting:
        raise _does_not_fit(finder, found)
    best, *others = sorted(fitting, key=lambda each: (RANKS[each.method], not each.bf16))
    return Tunings(finder.bundle.name, format_of(finder.bundle, finder.catalogue), best, tuple(others[:2]))


def _tuning(finder: Finder, device: Device, method: Method, bf16: bool) -> Tuning:
    parameters = num_parameters(finder.bundle)
    trained = 0 if method == "full" else round(LORA_SHARE * parameters) * 16
    activations = round(ACTIVATION_BYTES_PER_PARAMETER[method] * parameters)
    need = round(parameters * BYTES[method, bf16]) + trained + activations + LIBRARY_BYTES
    speed = None
    if device.silicon is not None:
        ops = device.silicon.bf16_ops_per_s if bf16 else device.silicon.f32_ops_per_s
        speed = SHARE * ops / (PASSES[method] * parameters)
    path = finder.bundle.path
    flags = f"--method {method}{' --bf16' if bf16 else ''}"
    serve = "fairway up FOLDER" if method == "full" else f"fairway up {path} --lora mine=FOLDER/adapter"
    command = f"fairway tune {path} DATA --out FOLDER {flags}"
    return Tuning(method, bf16, device, need, speed, command, serve)


def _speed(tuning: Tuning) -> str:
    if tuning.tokens_per_s is None or tuning.hours is None:
        return "not known here"
    cost = "" if tuning.dollars is None else f", ${tuning.dollars:.2f}"
    speed = f"{tuning.tokens_per_s:,.0f} tokens/s ±{ERROR:.0%}"
    hours = tuning.hours
    time = f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.0f} min"
    return f"{speed}: {time}{cost} for a million tokens"


def _words(tuning: Tuning) -> str:
    return f"{size(tuning.need_bytes)}, {_speed(tuning)}"


def _does_not_fit(finder: Finder, found: Sequence[Tuning]) -> DoesNotFit:
    least = min(found, key=lambda each: each.need_bytes)
    larger = sorted(
        (device for device in rentable(finder.catalogue) if device.memory_bytes >= least.need_bytes),
        key=lambda device: device.usd_per_hour or HOURS_PER_MONTH,
    )
    ways = [f"--on {each.id} (${each.usd_per_hour:.2f}/h)" for each in larger[:2] if each.usd_per_hour]
    ways.append("a smaller model")
    return DoesNotFit(
        f"Training {finder.bundle.name} takes {size(least.need_bytes)} at least ({least.name}), and "
        f"{least.device.name} has {size(least.device.memory_bytes)}.",
        hint=f"Ways to fit: {'; '.join(ways)}.",
    )
