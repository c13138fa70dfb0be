"""The second table of `fairway bench --limits`: how near each phase comes to the machine's limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from fairway.kernels.machine_limits import QUICK_PASSES, MachineLimits, measure_limits
from fairway.map.measure import Rates, Workload
from fairway.map.roofline import PassWork, Share
from fairway.runtimes.loading import Loaded

LEGEND = (
    "Weight bytes and matrix products only, as a share of the limit at that moment; attention and "
    "all else is the rest.\n"
    "Decoding one stream is bound by memory, prefill and large batches by products."
)


class Machine:
    """What the machine can do, measured again after every measurement of the engine."""

    def __init__(self, isa: str, threads: int | None) -> None:
        self._isa, self._threads = isa, threads
        self.limits = measure_limits(isa, threads)
        self._last = self.limits

    def since_last(self) -> MachineLimits:
        """Its limits while something ran: the mean of what they were before and are after."""
        before, self._last = self._last, measure_limits(self._isa, self._threads, QUICK_PASSES)
        return before.mean(self._last)


@dataclass(frozen=True)
class Shares:
    """Both phases of one batch size beside the machine."""

    batch: int
    prefill: Share
    decode: Share
    limits: MachineLimits

    @classmethod
    def of(
        cls, work: Workload, seen: Sequence[tuple[Rates, MachineLimits]], loaded: Loaded, machine: Machine
    ) -> Shares:
        """The median of several measurements, each beside the limits of its own time."""
        passes = PassWork.of(loaded.model.program)
        chunk = min(loaded.options.max_tokens_per_step, work.batch * work.prompt)
        prefill, decode = (
            passes.step(chunk, max(1, chunk // work.prompt)),
            passes.step(work.batch, work.batch),
        )
        return cls(
            work.batch,
            Share.median([Share.of(prefill, chunk / rates.prefill, limits) for rates, limits in seen]),
            Share.median([Share.of(decode, work.batch / rates.decode, limits) for rates, limits in seen]),
            machine.limits,
        )

    def to_dict(self) -> dict[str, Any]:
        """Keys to add to the row of `fairway bench --json`."""
        return {
            "limits": self.limits.to_dict(),
            "prefill_share": self.prefill.to_dict(),
            "decode_share": self.decode.to_dict(),
        }


def print_shares(limits: MachineLimits, shares: Sequence[Shares]) -> None:
    console = Console(highlight=False)
    console.print(f"\n{_machine(limits)}")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("batch", justify="right")
    table.add_column("phase")
    for title in ("memory", "of limit", "products", "of limit"):
        table.add_column(title, justify="right")
    for each in shares:
        for phase, share in (("prefill", each.prefill), ("decode", each.decode)):
            table.add_row(str(each.batch), phase, *_cells(share))
    console.print(table)
    console.print(LEGEND, style="dim")


def _machine(limits: MachineLimits) -> str:
    bf16 = "" if limits.bf16_ops_per_s is None else f", bf16 {limits.bf16_ops_per_s / 1e12:.2f} TFLOPS"
    return (
        f"This machine, {limits.threads} threads: memory {limits.memory_bytes_per_s / 1e9:.1f} GB/s, "
        f"int8 {limits.int8_ops_per_s / 1e12:.2f} TOPS{bf16}, "
        f"float32 {limits.f32_ops_per_s / 1e12:.2f} TFLOPS"
    )


def _cells(share: Share) -> tuple[str, ...]:
    return (
        f"{share.bytes_per_s / 1e9:.1f} GB/s",
        f"{share.memory_share:.0%}",
        f"{share.ops_per_s / 1e12:.2f} TOPS",
        f"{share.products_share:.0%}",
    )
