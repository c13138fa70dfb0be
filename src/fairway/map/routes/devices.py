"""What a model could run on: this machine's processor and GPUs, or any device of the catalogue.

A device that is here has measured limits; one of the catalogue has those that its maker states, and the
error of what is predicted from them is wider. What a maker does not state is derived, and said to be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fairway.errors import UsageError
from fairway.map.catalogue import Catalogue
from fairway.map.catalogue.catalogue import plain
from fairway.map.catalogue.schema import Hardware
from fairway.map.gpus import Gpu
from fairway.map.known_limits import KnownLimits
from fairway.map.probe import Machine
from fairway.map.speed import Silicon

HERE = "this"
HERE_NAMES = ("this", "here", "thismachine")
# Operations per byte of memory bandwidth, for what makers do not state: Apple's GPUs by M1 and M2 as measured
# by others, processors by what their kernels reach here (a core of AVX-512: 1.1 TOPS beside 27 GB/s).
APPLE_OPS_PER_BYTE = 35
GPU_OPS_PER_BYTE = 76
CPU_OPS_PER_BYTE = {"amx_int8": 40, "avx512_vnni": 40, "avx_vnni": 16, "avx2": 12, "i8mm": 12, "asimddp": 6}
FLOAT_SHARE = 4
"""int8 products are so many times as fast as float32 on processors."""
HOST_BYTES = 32 << 30
"""Of a processor whose memory nobody stated."""
DESK = ("geforce", "radeon rx", "rtx 3", "rtx 4", "rtx 5")
"""Cards for desks; others are made for data centres."""
EXAMPLES = "For example THIS, H100, A100, RTX4090, MI300X, M3, desktop."
STATED_ERROR = 0.15
"""Added where limits are stated and not measured."""


@dataclass(frozen=True)
class Device:
    """One kind of device. `silicon` None: its limits are not known yet."""

    id: str
    name: str
    kind: str
    """cpu, nvidia, amd, intel or apple."""
    memory_bytes: int
    """That a model may take."""
    silicon: Silicon | None
    machine: Machine | None = None
    """For the processor of this machine."""
    features: frozenset[str] = frozenset()
    usd_per_hour: float | None = None
    price_source: str = ""
    is_measured: bool = False
    notes: tuple[str, ...] = field(default=())

    @property
    def is_here(self) -> bool:
        return self.id.startswith(HERE)

    @property
    def is_datacentre(self) -> bool:
        name = self.name.lower()
        return self.kind in ("nvidia", "amd") and not any(word in name for word in DESK)

    @property
    def extra_error(self) -> float:
        return 0.0 if self.is_measured else STATED_ERROR


def devices_for(
    names: Sequence[str],
    machine: Machine,
    gpus: Iterable[Gpu],
    known: KnownLimits | None,
    catalogue: Catalogue,
    price: float | None = None,
) -> list[Device]:
    """`names` as after --on; none means this machine. Raises `UsageError` for an unknown device."""
    found: list[Device] = []
    for name in names or (HERE,):
        if plain(name) in HERE_NAMES:
            found += [this_processor(machine, known, price), *this_gpus(gpus, catalogue, price)]
        else:
            found.append(from_catalogue(_named(catalogue, name), catalogue, price))
    return found


def _named(catalogue: Catalogue, name: str) -> Hardware:
    try:
        return catalogue.device(name)
    except UsageError as error:
        is_near = (error.hint or "").startswith("Did you mean")
        raise UsageError(error.message, hint=error.hint if is_near else EXAMPLES) from None


def this_processor(machine: Machine, known: KnownLimits | None, price: float | None) -> Device:
    return Device(
        id=HERE,
        name=f"this machine ({machine.num_cores} cores of {machine.processor})",
        kind="cpu",
        memory_bytes=machine.memory_free_bytes,
        silicon=None if known is None else known.silicon(),
        machine=machine,
        features=machine.features,
        usd_per_hour=price,
        price_source="--price" if price is not None else "",
        is_measured=known is not None,
    )


def this_gpus(gpus: Iterable[Gpu], catalogue: Catalogue, price: float | None) -> list[Device]:
    """Those whose limits the catalogue knows, each under its own name."""
    found: list[Device] = []
    for number, gpu in enumerate(gpus):
        row = match_gpu(catalogue, gpu)
        if row is None:
            continue
        device = from_catalogue(row, catalogue, price)
        memory = gpu.free_bytes or gpu.memory_bytes or device.memory_bytes
        found.append(
            Device(
                id=f"{HERE}-gpu{number}",
                name=f"this machine's {gpu.name}",
                kind=gpu.vendor,
                memory_bytes=memory,
                silicon=device.silicon,
                usd_per_hour=price,
                price_source="--price" if price is not None else "",
                notes=device.notes,
            )
        )
    return found


def match_gpu(catalogue: Catalogue, gpu: Gpu) -> Hardware | None:
    """The row with the longest name or alias all of whose words are among the GPU's own; of equals the one
    whose memory is nearest."""
    words = _words(gpu.name)
    best: tuple[int, float, Hardware] | None = None
    for row in catalogue.hardware.values():
        if row.vendor != gpu.vendor or row.bandwidth_gb_s is None:
            continue
        names = [_words(each) for each in (row.id, row.name, *row.aliases)]
        length = max((len("".join(each)) for each in names if each <= words), default=0)
        apart = abs(gpu.memory_bytes / 1e9 - (row.memory_gb or 0.0)) if gpu.memory_bytes else 0.0
        if length and (best is None or (length, -apart) > (best[0], -best[1])):
            best = (length, apart, row)
    return None if best is None else best[2]


def _words(name: str) -> frozenset[str]:
    """ "NVIDIA A100-SXM4-40GB" -> nvidia, a100, sxm4, 40gb"""
    return frozenset(re.findall(r"[a-z0-9]+", name.lower()))


def rentable(catalogue: Catalogue) -> list[Device]:
    """Every device that somebody rents out, as --goal cheapest compares them."""
    ids = {name for price in catalogue.prices.values() if price.kind == "gpu" for name in price.hardware}
    return [from_catalogue(catalogue.hardware[name], catalogue, None) for name in sorted(ids)]


def from_catalogue(row: Hardware, catalogue: Catalogue, price: float | None) -> Device:
    """A device as its maker states it, at the lowest price that the catalogue knows."""
    offers = [each for each in catalogue.prices_of(row.id) if each.usd_per_hour is not None]
    cheapest = offers[0] if offers else None
    kind = row.vendor if row.kind != "cpu" else "cpu"
    notes = ["its limits are its maker's, not measured"]
    memory = int(row.memory_gb * 1e9) if row.memory_gb else HOST_BYTES
    if row.memory_gb is None:
        notes.append(f"its memory is taken as {HOST_BYTES >> 30} GiB")
    rented = price if price is not None else (cheapest.usd_per_hour if cheapest else None)
    source = "--price" if price is not None else ""
    if price is None and cheapest is not None:
        source = f"{catalogue.tools[cheapest.provider].name}, {cheapest.date}"
    return Device(
        id=row.id,
        name=row.name,
        kind=kind,
        memory_bytes=memory,
        silicon=_stated(row, notes),
        features=frozenset({row.feature} - {""}),
        usd_per_hour=rented,
        price_source=source,
        notes=tuple(notes),
    )


def _stated(row: Hardware, notes: list[str]) -> Silicon | None:
    if row.bandwidth_gb_s is None:
        return None
    bandwidth = row.bandwidth_gb_s * 1e9
    if row.kind == "cpu":
        ops = bandwidth * CPU_OPS_PER_BYTE.get(row.feature, 6)
        notes.append("its arithmetic is derived from its memory's speed")
        return Silicon(bandwidth, ops, ops / 2, ops / FLOAT_SHARE, threads=8)
    if row.fp16_tflops is not None:
        floats = row.fp16_tflops * 1e12
    else:
        floats = bandwidth * (APPLE_OPS_PER_BYTE if row.vendor == "apple" else GPU_OPS_PER_BYTE)
        notes.append("its arithmetic is derived from its memory's speed")
    fp8 = (row.fp8_tflops or 0.0) * 1e12
    return Silicon(bandwidth, (row.int8_tops or 0.0) * 1e12 or floats, floats, floats, fp8_ops_per_s=fp8)
