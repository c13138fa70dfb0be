"""The plan: how a model will run on a machine, decided before any weight is read.

`plan` is a pure function from a bundle, a machine and settings to decisions with their reasons.
The rule: what it plans fits, or `DoesNotFit` says both numbers and the cheapest ways to make it fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from fairway.errors import DoesNotFit
from fairway.formats.bundle import Bundle
from fairway.formats.quantized_folder import with_weights
from fairway.kernels.program import CacheType
from fairway.map.adapter_memory import adapter_bytes
from fairway.map.engines import engines
from fairway.map.estimate import (
    Need,
    activation_bytes,
    is_quantised,
    kv_bytes,
    num_parameters,
    overhead_bytes,
    stored_types,
    weight_bytes,
)
from fairway.map.plan import BLOCK_SIZE, Plan, size
from fairway.map.probe import Machine
from fairway.map.settings import PlanSettings
from fairway.map.speed import Silicon
from fairway.models.config import DecoderConfig
from fairway.models.families import read_config
from fairway.models.loader import served_context

# Below this a model answers fast in any type, and rounding hurts small models most.
SMALL_PARAMETERS = 50_000_000
# Left to the rest of the system.
USABLE_SHARE = 0.92
KV_LIMIT_BYTES = 2 << 30
NUM_WAYS = 3
"""Ways to fit that are named, the cheapest first."""
RENT = "a rented device (fairway plan --goal cheapest)"
CONTEXT_STEP = 1024
SMALLEST_CONTEXT = 2048
# What a stream reads per second at least on current memory, and what reads pleasantly.
BANDWIDTH_BYTES_PER_S = 20e9
PLEASANT_TOKENS_PER_S = 20
SMALLER_KV: Mapping[CacheType, tuple[CacheType, ...]] = {"f32": ("f16", "int8"), "f16": ("int8",), "int8": ()}


def plan(bundle: Bundle, machine: Machine, settings: PlanSettings, silicon: Silicon | None = None) -> Plan:
    """Raises `UnsupportedError` for what cannot run, `DoesNotFit`, or `SettingsError`. `silicon` is what is
    known of the machine's speed; without it, memory that is slow today is assumed."""
    bundle = with_weights(bundle)
    config = read_config(bundle.config, bundle.config_name)
    if settings.context is None and bundle.preset is not None and bundle.preset.context is not None:
        settings = replace(settings, context=min(max(bundle.preset.context, 16), config.max_context))
    served_context(config, settings.context)
    return Planner(bundle, config, machine, settings, silicon).plan()


@dataclass(frozen=True)
class Planner:
    """The facts of one plan; every method answers one question from them."""

    bundle: Bundle
    config: DecoderConfig
    machine: Machine
    settings: PlanSettings
    silicon: Silicon | None = None

    def plan(self) -> Plan:
        weight_type, reason = self.weights()
        kv_type = self.kv_type(weight_type)
        context = self.context(weight_type, kv_type)
        if not self.fits(weight_type, kv_type, context):
            raise self.does_not_fit(weight_type, kv_type, context)
        num_blocks = self.num_blocks(weight_type, kv_type, context)
        return Plan(
            path=self.bundle.path,
            architecture=self.config.model_type,
            num_parameters=num_parameters(self.bundle),
            stored_types=tuple(stored_types(self.bundle.tensors.infos)),
            weight_type=weight_type,
            weight_reason=reason,
            context=context,
            max_context=self.config.max_context,
            kv_type=kv_type,
            num_blocks=num_blocks,
            threads=self.settings.threads or self.machine.num_cores,
            settings=self.settings,
            need=self.need(weight_type, kv_type, num_blocks * BLOCK_SIZE),
            machine=self.machine,
        )

    # --- weights

    def weights(self) -> tuple[str, str]:
        """The weight type and why, in a few words."""
        if self.settings.weights != "auto":
            return self.settings.weights, "as asked"
        if is_quantised(self.bundle.tensors.infos):
            return "stored", "the file is quantised already"
        if num_parameters(self.bundle) < SMALL_PARAMETERS:
            return "stored", "small enough to keep exactly"
        if not self.fits("int8", "f16", self.shortest_context()):
            return "int4", "int8 does not fit"
        if self.tokens_per_s("int8") >= PLEASANT_TOKENS_PER_S:
            return "int8", "next to lossless, and small enough to be fast"
        return "int4", "half the bytes per token of int8, so nearly twice as fast"

    def weight_bytes(self, weight_type: str) -> int:
        return weight_bytes(self.bundle, self.config, weight_type)

    def tokens_per_s(self, weight_type: str) -> float:
        """Of one stream, by reading the weights once a token."""
        if self.silicon is None:
            return BANDWIDTH_BYTES_PER_S / self.weight_bytes(weight_type)
        share = engines()["native"].memory_share
        size = self.weight_bytes(weight_type)
        return self.silicon.reading_rate(size) * share / size

    # --- cache and context

    def kv_type(self, weight_type: str) -> CacheType:
        """float32 where the weights are, so that the answer is the reference's to the last bit."""
        if self.settings.kv != "auto":
            return self.settings.kv
        types = stored_types(self.bundle.tensors.infos)
        return "f32" if weight_type == "stored" and next(iter(types), "") == "F32" else "f16"

    def shortest_context(self) -> int:
        return self.settings.context or min(self.config.max_context, SMALLEST_CONTEXT)

    def context(self, weight_type: str, kv_type: CacheType) -> int:
        """What was asked for; else all of the model's, as far as the cache's share reaches."""
        if self.settings.context is not None:
            return self.settings.context
        tokens = self.kv_budget(weight_type) // kv_bytes(self.config, 1, kv_type)
        if tokens >= self.config.max_context:
            return self.config.max_context
        return max(self.shortest_context(), tokens // CONTEXT_STEP * CONTEXT_STEP)

    def num_blocks(self, weight_type: str, kv_type: CacheType, context: int) -> int:
        """At least one full context; at most a share of what is free, and one for every sequence at once."""
        tokens = self.kv_budget(weight_type) // kv_bytes(self.config, 1, kv_type)
        useful = min(tokens, self.settings.max_sequences * context)
        return max(-(-context // BLOCK_SIZE), useful // BLOCK_SIZE)

    def kv_budget(self, weight_type: str) -> int:
        left = self.usable_bytes() - self.need(weight_type, "f16", 0).total_bytes
        return max(0, min(int(left * self.settings.kv_share), KV_LIMIT_BYTES))

    # --- does it fit

    def usable_bytes(self) -> int:
        return int(self.machine.memory_free_bytes * USABLE_SHARE)

    def need(self, weight_type: str, kv_type: CacheType, num_tokens: int) -> Need:
        settings = self.settings
        return Need(
            weight_bytes=self.weight_bytes(weight_type),
            kv_bytes=kv_bytes(self.config, num_tokens, kv_type),
            activation_bytes=activation_bytes(
                self.config, settings.max_tokens_per_step, settings.max_sequences
            ),
            overhead_bytes=overhead_bytes(self.bundle, self.config),
            adapter_bytes=self.adapter_bytes(weight_type),
        )

    def adapter_bytes(self, weight_type: str) -> int:
        """Of all adapters that are planned for."""
        settings = self.settings
        if not settings.adapters:
            return 0
        each = adapter_bytes(self.bundle, self.config, weight_type, settings.adapter_rank)
        return settings.adapters * each

    def fits(self, weight_type: str, kv_type: CacheType, context: int) -> bool:
        return self.need(weight_type, kv_type, context).total_bytes <= self.usable_bytes()

    def does_not_fit(self, weight_type: str, kv_type: CacheType, context: int) -> DoesNotFit:
        needed = self.need(weight_type, kv_type, context).total_bytes
        larger = f"a machine with {size(needed / USABLE_SHARE)} free"
        ways = [*self.ways_to_fit(weight_type, kv_type, context), larger, "a smaller model", RENT]
        return DoesNotFit(
            f"{self.bundle.name} needs {size(needed)} of memory ({weight_type} weights, context {context:,}) "
            f"and {size(self.usable_bytes())} are usable.",
            hint=f"Ways to fit: {'; '.join(ways[:NUM_WAYS])}.",
        )

    def ways_to_fit(self, weight_type: str, kv_type: CacheType, context: int) -> Iterator[str]:
        """What costs least first: a shorter context, a smaller cache type, then coarser weights."""
        shorter = self.longest_context(weight_type, kv_type, context)
        if shorter:
            yield f"--context {shorter}"
        for smaller_kv in SMALLER_KV[kv_type]:
            if self.fits(weight_type, smaller_kv, context):
                yield f"--kv {smaller_kv}"
        now = self.weight_bytes(weight_type)
        for smaller in ("int8", "int4"):
            if self.weight_bytes(smaller) >= now:
                continue
            if self.fits(smaller, "f16", context):
                yield f"--weights {smaller}"
            elif self.fits(smaller, "int8", context):
                yield f"--weights {smaller} --kv int8"
            if both := self.longest_context(smaller, "f16", context):
                yield f"--weights {smaller} --context {both}"
            if longer := self.longest_context(smaller, "int8", context):
                yield f"--weights {smaller} --kv int8 --context {longer}"

    def longest_context(self, weight_type: str, kv_type: CacheType, below: int) -> int | None:
        """The longest context shorter than `below` that fits, if one worth having does."""
        left = self.usable_bytes() - self.need(weight_type, kv_type, 0).total_bytes
        tokens = left // kv_bytes(self.config, 1, kv_type)
        step = CONTEXT_STEP if tokens >= SMALLEST_CONTEXT else 256
        tokens = tokens // step * step
        return tokens if 256 <= tokens < below else None


def ways_to_take_less(bundle: Bundle, planned: Plan) -> list[str]:
    """Three settings that take less memory than a plan that was too optimistic."""
    ways = [f"--context {max(256, planned.context // 2)}", f"--kv-share {planned.settings.kv_share / 2:g}"]
    smaller = next((each for each in ("int8", "int4") if _is_smaller(bundle, planned, each)), None)
    return [*ways, f"--weights {smaller}" if smaller else "a smaller model"]


def _is_smaller(bundle: Bundle, planned: Plan, weight_type: str) -> bool:
    config = read_config(bundle.config, bundle.config_name)
    return weight_bytes(with_weights(bundle), config, weight_type) < 0.9 * planned.need.weight_bytes
