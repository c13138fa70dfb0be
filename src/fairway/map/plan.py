"""A plan as data: the decisions, what they need, and how they read for people and programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairway.kernels.program import CacheType
from fairway.map.estimate import Need
from fairway.map.probe import Machine
from fairway.map.settings import PlanSettings

if TYPE_CHECKING:
    from fairway.runtimes.loading import NativeOptions

BLOCK_SIZE = 16
# What the processor must have for the kernels of an instruction set, the best first.
FEATURES = {
    "avx512": "avx512_vnni",
    "avx2_vnni": "avx_vnni",
    "avx2": "avx2",
    "neon_i8mm": "i8mm",
    "neon": "asimddp",
}
KERNELS = {
    "avx512": "AVX-512",
    "avx2_vnni": "AVX2 with VNNI",
    "avx2": "AVX2",
    "neon_i8mm": "NEON with int8 matrices",
    "neon": "NEON with dot products",
    "reference": "the slow NumPy reference",
}


@dataclass(frozen=True)
class Plan:
    """How one model will run. Every field is decided."""

    path: Path
    architecture: str
    num_parameters: int
    stored_types: tuple[str, ...]
    weight_type: str
    weight_reason: str
    context: int
    max_context: int
    kv_type: CacheType
    num_blocks: int
    threads: int
    settings: PlanSettings
    need: Need
    machine: Machine

    @property
    def cache_tokens(self) -> int:
        return self.num_blocks * BLOCK_SIZE

    @property
    def isa(self) -> str:
        """The kernels that run: those asked for, else the best that the processor has."""
        if self.settings.isa != "auto":
            return self.settings.isa
        return next((isa for isa, needed in FEATURES.items() if needed in self.machine.features), "reference")

    def native_options(self, name: str) -> NativeOptions:
        """What the native runtime is told."""
        from fairway.runtimes.loading import NativeOptions

        return NativeOptions(
            name=name,
            weight_type=self.weight_type,
            context=self.context,
            kv_type=self.kv_type,
            num_blocks=self.num_blocks,
            block_size=BLOCK_SIZE,
            threads=self.threads,
            max_tokens_per_step=self.settings.max_tokens_per_step,
            max_sequences=self.settings.max_sequences,
            max_waiting=self.settings.max_waiting,
            enable_prefix_caching=self.settings.enable_prefix_caching,
            isa=self.settings.isa,
            cache_folder=self.settings.packed_folder if self.settings.packed_cache else None,
            cache_bytes=self.settings.packed_bytes,
            max_loras=self.settings.max_loras,
            max_lora_rank=self.settings.max_lora_rank,
        )

    def lines(self) -> list[tuple[str, str]]:
        """(what, decision) for people, in the order they ask."""
        return [
            ("model", f"{self.architecture}, {count(self.num_parameters)} parameters, {self.path}"),
            ("weights", self._weights()),
            ("context", self._context()),
            ("memory", self._memory()),
            ("threads", self._threads()),
        ]

    def to_dict(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "path": str(self.path),
            "architecture": self.architecture,
            "num_parameters": self.num_parameters,
            "stored_types": list(self.stored_types),
            "weights": self.weight_type,
            "weights_reason": self.weight_reason,
            "context": self.context,
            "max_context": self.max_context,
            "kv_type": self.kv_type,
            "num_blocks": self.num_blocks,
            "block_size": BLOCK_SIZE,
            "threads": self.threads,
            "isa": self.isa,
            "needed": self.need.to_dict(),
            "available_bytes": self.machine.memory_free_bytes,
            "machine": self.machine.to_dict(),
        }

    def _weights(self) -> str:
        kind = self.weight_type
        if kind == "stored":
            kind = f"stored ({', '.join(self.stored_types[:3]) or 'no matrices'})"
        return f"{kind}, {size(self.need.weight_bytes)}: {self.weight_reason}"

    def _context(self) -> str:
        text = f"{self.context:,} tokens"
        if self.context < self.max_context:
            text += f" of the model's {self.max_context:,}"
        return f"{text}; cache for {self.cache_tokens:,} in {self.kv_type}, {size(self.need.kv_bytes)}"

    def _memory(self) -> str:
        needed, free = size(self.need.total_bytes), size(self.machine.memory_free_bytes)
        text = f"{needed} needed once the cache is full, {free} free"
        return f"{text}; {self.adapters}" if self.adapters else text

    @property
    def adapters(self) -> str:
        """What is kept for them, in words; empty where nothing is."""
        settings, taken = self.settings, self.need.adapter_bytes
        if not settings.adapters:
            return ""
        return f"{settings.adapters} adapters of rank {settings.adapter_rank}, {size(taken)}"

    def in_a_line(self) -> str:
        """For a list of models that are served."""
        needed = size(self.need.total_bytes)
        return (
            f"{self.weight_type} weights, {self.context:,} tokens of context, {needed} once the cache is full"
        )

    def _threads(self) -> str:
        machine = self.machine
        limits = f" ({'; '.join(machine.limits)})" if machine.limits else ""
        return f"{self.threads} on {machine.processor}, {KERNELS[self.isa]}{limits}"


def size(num_bytes: float) -> str:
    """Bytes for people, in powers of ten as disks and memory are sold."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if num_bytes >= scale:
            return f"{num_bytes / scale:.1f} {unit}"
    return f"{num_bytes / 1e3:.0f} kB"


def rate(number: float) -> str:
    """Something per second: 13,300, 142, 7.25."""
    return f"{float(f'{number:.3g}'):,.0f}" if number >= 100 else f"{number:.3g}"


def duration(seconds: float) -> str:
    """0.65 ms, 24 ms, 1.3 s."""
    return f"{seconds:.2g} s" if seconds >= 0.1 else f"{1e3 * seconds:.2g} ms"


def count(number: int) -> str:
    """260 k, 11.2 M, 7.1 B."""
    for unit, scale in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= scale:
            return f"{number / scale:.3g} {unit}"
    return str(number)
