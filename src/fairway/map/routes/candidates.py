"""Every route that could be: engines, weights, devices and hops, each with memory, speed and cost.

What cannot be is kept with its reason, for "why not". The rule: nothing is chosen here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from shlex import quote

from fairway.errors import DoesNotFit
from fairway.formats.bundle import Bundle
from fairway.kernels.program import CacheType
from fairway.map.adapter_memory import adapter_parameters
from fairway.map.catalogue import Catalogue
from fairway.map.engines import Engine, WeightChoice, engines
from fairway.map.estimate import (
    Need,
    activation_bytes,
    is_quantised,
    kv_bytes,
    num_parameters,
    pass_work,
)
from fairway.map.history import Corrections
from fairway.map.plan import FEATURES, Plan
from fairway.map.planner import USABLE_SHARE, plan
from fairway.map.probe import Machine
from fairway.map.roofline import PassWork, Work
from fairway.map.routes.devices import Device
from fairway.map.routes.lanes import Hop, format_of, way
from fairway.map.routes.question import Question
from fairway.map.routes.route import Cost, Route
from fairway.map.settings import PlanSettings
from fairway.map.speed import Attention, Estimator, Silicon, Speed
from fairway.models.config import DecoderConfig

CONTEXT = 4096
"""Served where nobody says how much, on devices other than this machine's processor."""
COUNTS = (1, 2, 4, 8)
SPREAD_SHARE = 0.85
"""What several devices reach together of the sum of their limits."""
STORED = "stored"
NATIVE = "native"


@dataclass(frozen=True)
class Refusal:
    """Why an engine cannot take a model somewhere."""

    tool: str
    reason: str
    need: Need | None = None
    device: Device | None = None


@dataclass(frozen=True)
class Finder:
    """One model and one question; `candidates` for each device."""

    bundle: Bundle
    config: DecoderConfig
    question: Question
    catalogue: Catalogue
    corrections: Corrections = field(default_factory=Corrections)
    engine_ids: tuple[str, ...] = ()
    """Only these; all where empty."""

    def candidates(self, device: Device) -> Iterator[Route | Refusal]:
        start = format_of(self.bundle, self.catalogue)
        for engine in engines().values():
            if self.engine_ids and engine.id not in self.engine_ids:
                continue
            tool = self.catalogue.tools[engine.tool].name
            if device.kind not in engine.silicon:
                yield Refusal(tool, f"does not run on {device.name}")
            elif missing := self._missing(engine, device):
                yield Refusal(tool, missing)
            elif engine.id == NATIVE:
                yield from self._native(engine, device, tool)
            else:
                hops = way(self.catalogue, start, engine.format)
                if hops is None:
                    yield Refusal(tool, f"no way leads from {start} to {engine.format}")
                else:
                    yield from self._others(engine, device, tool, hops)

    def _missing(self, engine: Engine, device: Device) -> str:
        lacks = [name for name in engine.needs if device.machine and name not in device.features]
        return f"needs {', '.join(lacks)}, which this processor lacks" if lacks else ""

    # --- the native engine

    def _native(self, engine: Engine, device: Device, tool: str) -> Iterator[Route | Refusal]:
        if device.machine is None and not device.features & set(FEATURES.values()) and device.features:
            yield Refusal(tool, f"has no kernels for {device.name}")
            return
        for choice in self._native_choices():
            settings = replace(self.question.settings, weights=choice)  # type: ignore[arg-type]
            try:
                planned = plan(self.bundle, self._machine(device), self._sized(settings))
            except DoesNotFit as error:
                yield Refusal(tool, error.message)
                continue
            bits = self._native_bits(planned.weight_type)
            work = pass_work(self.bundle, self.config, planned.weight_type)
            if choice not in ("auto", self.question.settings.weights):
                planned = replace(planned, weight_reason=f"for {self.question.goal or 'comparison'}")
            route = self._route(
                engine, device, 1, (), planned.weight_type, bits, planned.kv_type, planned.context
            )
            speed = self._speed(
                engine, device, work, planned.kv_type, planned.context, 1, planned.weight_type
            )
            yield replace(
                route,
                tool=tool,
                need=planned.need,
                speed=speed,
                cost=Cost.of(device, 1, speed),
                plan=planned if device.is_here else None,
                commands=(self._up(planned),),
            )

    def _native_choices(self) -> tuple[str, ...]:
        """What was asked for; else the plan's own choice, then the others that make sense."""
        asked = self.question.settings.weights
        if asked != "auto":
            return (asked,)
        return ("auto",) if self._is_quantised else ("auto", "bf16", "int8", "int4")

    @cached_property
    def _is_quantised(self) -> bool:
        return is_quantised(self.bundle.tensors.infos)

    def _sized(self, settings: PlanSettings) -> PlanSettings:
        """As many sequences as people; the smallest takes no more cache than they need."""
        if self.question.goal == "smallest":
            context = settings.context or min(CONTEXT, self.config.max_context)
            return replace(settings, context=context, max_sequences=self.question.users)
        if self.question.users <= settings.max_sequences:
            return settings
        return replace(settings, max_sequences=self.question.users)

    def _machine(self, device: Device) -> Machine:
        if device.machine is not None:
            return device.machine
        return Machine(
            "Linux", "", device.name, device.features, 8, device.memory_bytes, device.memory_bytes, 1 << 40
        )

    def _native_bits(self, weight_type: str) -> float:
        if weight_type == STORED:
            infos = self.bundle.tensors.infos.values()
            return 8 * sum(info.num_bytes for info in infos) / max(1, num_parameters(self.bundle))
        choice = next(each for each in engines()[NATIVE].weights if each.name == weight_type)
        return self.catalogue.quantisations[choice.quantisation].bits_per_weight

    def _up(self, planned: Plan) -> str:
        words = ["fairway up", quote(str(self.bundle.path)), f"--weights {planned.weight_type}"]
        words.append(f"--context {planned.context}")
        if self.question.settings.kv != "auto":
            words.append(f"--kv {planned.kv_type}")
        if planned.settings.max_sequences != PlanSettings().max_sequences:
            words.append(f"--max-sequences {planned.settings.max_sequences}")
        if planned.settings.adapters:
            words.append(f"--adapters {planned.settings.adapters}")
            words.append(f"--adapter-rank {planned.settings.adapter_rank}")
        return " ".join(words)

    # --- engines of others

    def _others(
        self, engine: Engine, device: Device, tool: str, hops: tuple[Hop, ...]
    ) -> Iterator[Route | Refusal]:
        context = min(self.question.settings.context or CONTEXT, self.config.max_context)
        kv_type: CacheType = "f16"
        too_large: Refusal | None = None
        for choice in self._choices(engine, hops):
            if self.question.settings.weights not in ("auto", *_as_native(choice.name)):
                continue
            if choice.ops == "fp8" and (device.silicon is None or not device.silicon.fp8_ops_per_s):
                continue
            bits = self._bits(choice)
            found = None
            for count in COUNTS if engine.parallel else (1,):
                need = self._need(engine, bits, context, count)
                if need.total_bytes <= device.memory_bytes * USABLE_SHARE:
                    found = self._other(engine, device, choice, hops, bits, context, count, kv_type, need)
                    break
                too_large = Refusal(
                    tool, f"needs {need.total_bytes / 1e9:.1f} GB of {device.name}'s memory", need, device
                )
            if found is not None:
                yield replace(found, tool=tool)
        if too_large is not None:
            yield too_large

    def _other(
        self, engine: Engine, device: Device, choice: WeightChoice, hops: tuple[Hop, ...], bits: float,
        context: int, count: int, kv_type: CacheType, need: Need,
    ) -> Route:  # fmt: skip
        commands, model = self._commands(hops, choice)
        path = Path(model)
        serve = engine.serve.format(
            model=model if engine.is_library else quote(model), folder=quote(str(path.parent)),
            name=quote(path.name), context=context, users=self.question.users, devices=count,
        )  # fmt: skip
        # A file that was rounded before becomes no more exact.
        exact = min(bits, self._native_bits(STORED)) if self._is_quantised else bits
        route = self._route(engine, device, count, hops, choice.name, exact, kv_type, context)
        speed = self._speed(engine, device, self._work(choice, bits), kv_type, context, count, choice.name)
        return replace(
            route,
            need=need,
            speed=speed,
            cost=Cost.of(device, count, speed),
            commands=(*commands, f"{serve} {choice.flag}".strip()),
            hops=tuple(replace(hop, command=command) for hop, command in zip(hops, commands, strict=True)),
        )

    def _choices(self, engine: Engine, hops: tuple[Hop, ...]) -> tuple[WeightChoice, ...]:
        """A file that is read as it is keeps its type."""
        if not hops and self._is_quantised:
            ops = engine.weights[0].ops
            return (WeightChoice(STORED, "", ops),)
        return engine.weights

    def _bits(self, choice: WeightChoice) -> float:
        if choice.name == STORED:
            return self._native_bits(STORED)
        return self.catalogue.quantisations[choice.quantisation].bits_per_weight

    def _work(self, choice: WeightChoice, bits: float) -> PassWork:
        """The bfloat16 program's, with the choice's bits and arithmetic."""
        base = pass_work(self.bundle, self.config, "bf16")

        def scaled(work: Work) -> Work:
            size = round(work.weight_bytes * bits / 16)
            if choice.ops == "int8":
                return Work(size, int8_ops=work.float_ops)
            return Work(size, float_ops=work.float_ops)

        return PassWork(scaled(base.tokens), scaled(base.outputs))

    def _need(self, engine: Engine, bits: float, context: int, count: int) -> Need:
        load = self.question.load(context)
        used = self.question.users * (load.prompt + load.answer)
        tokens = max(context, used) if engine.paged else context * self.question.users
        kv = kv_bytes(self.config, tokens, "f16", trims_windows=True)
        return Need(
            weight_bytes=round(num_parameters(self.bundle) * bits / 8 / count),
            kv_bytes=round(kv / count),
            activation_bytes=activation_bytes(self.config, 512, self.question.users),
            overhead_bytes=round(engine.overhead_gb * 1e9),
            adapter_bytes=self._adapter_bytes(),
        )

    def _adapter_bytes(self) -> int:
        """In 16 bits, on each device."""
        settings = self.question.settings
        if not settings.adapters:
            return 0
        return settings.adapters * 2 * adapter_parameters(self.config, settings.adapter_rank)

    def _commands(self, hops: tuple[Hop, ...], choice: WeightChoice) -> tuple[list[str], str]:
        """One per hop, and what the last one makes."""
        source, commands = str(self.bundle.path), []
        for number, hop in enumerate(hops):
            kind = choice.name if number == len(hops) - 1 else "BF16"
            stem = Path(source).stem if Path(source).is_file() else Path(source).name
            out = f"{stem}-{kind}{'.gguf' if hop.writes == 'gguf' else f'-{hop.writes}'}"
            type_flag = f" --type {kind.upper()}"
            commands.append(
                f"fairway convert {quote(source)} --to {hop.writes}{type_flag} --out {quote(out)}"
            )
            source = out
        return commands, source

    # --- both

    def _route(
        self, engine: Engine, device: Device, count: int, hops: tuple[Hop, ...], weights: str, bits: float,
        kv_type: str, context: int,
    ) -> Route:  # fmt: skip
        nothing = Need(0, 0, 0, 0)
        return Route(
            engine=engine.id, tool="", device=device, num_devices=count, weights=weights, bits=bits,
            kv_type=kv_type, context=context, hops=hops, need=nothing, speed=None, cost=None, commands=(),
            is_library=engine.is_library,
        )  # fmt: skip

    def _speed(
        self, engine: Engine, device: Device, work: PassWork, kv_type: CacheType, context: int, count: int,
        weights: str,
    ) -> Speed | None:  # fmt: skip
        if device.silicon is None:
            return None
        engine, silicon = engine.with_weights(weights), _several(device.silicon, count)
        if device.is_datacentre and engine.datacentre_gain != 1.0:
            gain = engine.datacentre_gain
            engine = replace(
                engine, memory_share=engine.memory_share * gain, products_share=engine.products_share * gain,
                float_share=engine.float_share * gain,
            )  # fmt: skip
        if weights == "fp8":
            silicon = replace(silicon, bf16_ops_per_s=silicon.fp8_ops_per_s)
        attention = Attention.of(self.config, kv_type)
        estimator = Estimator(work, attention, self.config.vocab_size, silicon, engine)
        speed = estimator.predict(self.question.load(context))
        speed = replace(speed, error=speed.error + (0 if device.is_measured else device.extra_error))
        return self.corrections.applied(speed, engine.id, weights) if device.is_here else speed


def _several(silicon: Silicon, count: int) -> Silicon:
    if count == 1:
        return silicon
    share = count * SPREAD_SHARE
    return replace(
        silicon,
        memory_bytes_per_s=silicon.memory_bytes_per_s * share,
        int8_ops_per_s=silicon.int8_ops_per_s * share,
        bf16_ops_per_s=silicon.bf16_ops_per_s * share,
        f32_ops_per_s=silicon.f32_ops_per_s * share,
        fp8_ops_per_s=silicon.fp8_ops_per_s * share,
    )


def _as_native(name: str) -> tuple[str, ...]:
    """Which of `--weights` a choice of another engine answers to."""
    lower = name.lower()
    if lower == STORED:
        return (STORED,)
    if lower.startswith("q"):
        return (f"int{lower[1]}",)
    return (lower,)
