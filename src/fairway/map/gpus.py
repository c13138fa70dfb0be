"""The GPUs of this machine, as their makers' own programs tell them.

Each program is asked once, without privileges, and may be missing. The rule: a reader takes the text that
a program printed, so that recorded texts of machines that are not at hand can be read in tests.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

Vendor: TypeAlias = Literal["nvidia", "amd", "intel", "apple"]
Ask: TypeAlias = Callable[[Sequence[str]], str]
"""Runs a command line and answers with what it printed; nothing where it is missing or fails."""
TIMEOUT_S = 10
MIB = 1 << 20


@dataclass(frozen=True)
class Gpu:
    """One device. None: its program does not say."""

    vendor: Vendor
    name: str
    memory_bytes: int | None = None
    """Its own; None where it shares the machine's."""
    free_bytes: int | None = None
    driver: str = ""
    capability: str = ""
    """NVIDIA's compute capability, AMD's gfx name, Apple's Metal family."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def ask_program(command: Sequence[str]) -> str:
    """What a program prints; nothing where it is missing, fails or hangs."""
    path = shutil.which(command[0])
    if path is None:
        return ""
    try:
        done = subprocess.run(
            [path, *command[1:]], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def read_gpus(system: str, ask: Ask = ask_program) -> tuple[Gpu, ...]:
    """`system` is platform.system(). Asks only the programs that can be there."""
    if system == "Darwin":
        return tuple(from_system_profiler(ask(("system_profiler", "SPDisplaysDataType", "-json"))))
    if system == "Windows":
        return _on_windows(ask)
    found = [*from_nvidia_smi(ask(NVIDIA)), *from_rocm_smi(ask(ROCM))]
    listed = ask(("xpu-smi", "discovery", "-j"))
    details = [ask(("xpu-smi", "discovery", "-d", each, "-j")) for each in _xpu_ids(listed)]
    return (*found, *(gpu for text in details for gpu in from_xpu_smi(text)))


NVIDIA = (
    "nvidia-smi",
    "--query-gpu=name,memory.total,memory.free,driver_version,compute_cap",
    "--format=csv,noheader,nounits",
)
ROCM = ("rocm-smi", "--showproductname", "--showmeminfo", "vram", "--showdriverversion", "--json")
WINDOWS = (
    "powershell",
    "-NoProfile",
    "-NonInteractive",
    "-Command",
    "Get-CimInstance Win32_VideoController | Select-Object Name,AdapterCompatibility,AdapterRAM,DriverVersion"
    " | ConvertTo-Json",
)


def from_nvidia_smi(text: str) -> Iterator[Gpu]:
    """Lines of `NVIDIA`; memory in MiB, "[N/A]" where a device does not tell."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == 5:
            name, total, free, driver, capability = cells
            yield Gpu("nvidia", name, _mib(total), _mib(free), driver, _said(capability))


def from_rocm_smi(text: str) -> Iterator[Gpu]:
    """One object per card; which keys there are differs between versions."""
    cards = _object(text)
    driver = str(_part(cards, "system").get("Driver version", ""))
    for name in sorted(cards):
        card = _part(cards, name)
        if not name.startswith("card") or not card:
            continue
        title = next((str(card[key]) for key in ROCM_NAMES if card.get(key)), "AMD GPU")
        total = _number(card.get("VRAM Total Memory (B)"))
        used = _number(card.get("VRAM Total Used Memory (B)"))
        free = None if total is None or used is None else total - used
        yield Gpu("amd", title, total, free, driver, str(card.get("GFX Version", "")))


ROCM_NAMES = ("Card Series", "Card series", "Card Model", "Card model", "Device Name")


def from_xpu_smi(text: str) -> Iterator[Gpu]:
    """`xpu-smi discovery -d N -j`: one device."""
    device = _object(text)
    if name := device.get("device_name"):
        total, free = device.get("memory_physical_size_byte"), device.get("memory_free_size_byte")
        yield Gpu("intel", str(name), _number(total), _number(free), str(device.get("driver_version", "")))


def _xpu_ids(text: str) -> list[str]:
    devices = _object(text).get("device_list")
    return [str(each.get("device_id", 0)) for each in devices] if isinstance(devices, list) else []


def _on_windows(ask: Ask) -> tuple[Gpu, ...]:
    """nvidia-smi knows its own best; Windows knows what else there is."""
    nvidia = tuple(from_nvidia_smi(ask(NVIDIA)))
    others = (each for each in from_video_controllers(ask(WINDOWS)) if not nvidia or each.vendor != "nvidia")
    return (*nvidia, *others)


def from_video_controllers(text: str) -> Iterator[Gpu]:
    """`WINDOWS`: one object, or a list of them. AdapterRAM has 32 bits: from 4 GiB on it says nothing."""
    for each in _objects(text):
        name, maker = str(each.get("Name") or ""), str(each.get("AdapterCompatibility") or "")
        vendor = next((kind for word, kind in MAKERS.items() if word in f"{maker} {name}".lower()), None)
        if vendor is not None:
            memory = _number(each.get("AdapterRAM"))
            memory = memory if memory and memory < MOST_ADAPTER_BYTES else None
            yield Gpu(vendor, name, memory, driver=str(each.get("DriverVersion") or ""))


MAKERS: dict[str, Vendor] = {
    "nvidia": "nvidia",
    "advanced micro devices": "amd",
    "amd": "amd",
    "intel": "intel",
}
MOST_ADAPTER_BYTES = (1 << 32) - (2 << 20)


def from_system_profiler(text: str) -> Iterator[Gpu]:
    """`SPDisplaysDataType`. Apple's own share the machine's memory; others state theirs."""
    displays = _object(text).get("SPDisplaysDataType")
    for each in displays if isinstance(displays, list) else []:
        name = str(each.get("sppci_model", each.get("_name", "GPU")))
        vendor = str(each.get("spdisplays_vendor", "")).lower()
        kind = next((known for known in VENDORS if known in vendor), None)
        if kind is not None:
            memory = _apple_memory(str(each.get("spdisplays_vram", "")))
            family = str(each.get("spdisplays_mtlgpufamilysupport", "")).removeprefix("spdisplays_")
            yield Gpu(kind, name, memory, capability=family)


VENDORS: tuple[Vendor, ...] = ("apple", "amd", "intel", "nvidia")


def _apple_memory(text: str) -> int | None:
    """ "8 GB" of a card of its own."""
    number, _, unit = text.partition(" ")
    scale = {"GB": 1 << 30, "MB": MIB}.get(unit)
    return int(number) * scale if scale and number.isdigit() else None


def _mib(text: str) -> int | None:
    return int(text) * MIB if text.isdigit() else None


def _said(text: str) -> str:
    return "" if text.startswith("[") else text


def _number(value: Any) -> int | None:  # noqa: ANN401  JSON writes it as a number or as a text
    text = str(value)
    return int(text) if text.isdigit() else None


def _part(parent: dict[str, Any], name: str) -> dict[str, Any]:
    part = parent.get(name)
    return part if isinstance(part, dict) else {}


def _objects(text: str) -> list[dict[str, Any]]:
    """ConvertTo-Json writes a list of one as the one."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, dict)]


def _object(text: str) -> dict[str, Any]:
    """The JSON object in a text, which may begin with warnings; empty for anything else."""
    start = text.find("{")
    try:
        value = json.loads(text[start:]) if start >= 0 else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
