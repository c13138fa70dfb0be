"""What this machine and this installation can do, what is wrong with them, and how to set it right.

Every check answers with a finding; none raises, none changes anything. A finding that is wrong names its fix.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from fairway import __version__
from fairway.kernels.select import choose_isa, why_reference
from fairway.map.gpus import Gpu
from fairway.map.known_limits import LITTLE_NOISE, KnownLimits
from fairway.map.plan import size
from fairway.map.probe import Machine
from fairway.map.state import state_folder

State: TypeAlias = Literal["ok", "note", "wrong"]
PACKAGE = "fairway"
LITTLE_MEMORY = 1 << 30
LITTLE_DISK = 5 << 30
EXTRA = re.compile(r"extra\s*==\s*['\"]([\w-]+)['\"]")
REQUIREMENT = re.compile(r"^[A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    group: str
    name: str
    state: State
    text: str
    fix: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def machine_findings(machine: Machine, gpus: Sequence[Gpu], known: KnownLimits | None) -> Iterator[Finding]:
    """Cores, memory, disk, limits and GPUs."""
    limits = f"; {'; '.join(machine.limits)}" if machine.limits else ""
    features = ", ".join(sorted(machine.features)) or "none that kernels ask for"
    yield Finding("machine", "processor", "ok", f"{machine.processor}, {machine.system} {machine.arch}")
    yield Finding("machine", "cores", "ok", f"{machine.num_cores} may be used{limits}")
    yield Finding("machine", "instructions", "ok", features)
    yield _memory(machine)
    yield _disk(machine)
    yield _limits(known)
    for gpu in gpus:
        memory = _gpu_memory(gpu)
        driver = f", driver {gpu.driver}" if gpu.driver else ""
        yield Finding("machine", "GPU", "ok", f"{gpu.name}, {memory}{driver}: fairway plan weighs it")
    if not gpus:
        text = "none that nvidia-smi, rocm-smi, xpu-smi, Windows or macOS tells of"
        yield Finding("machine", "GPU", "note", text)


def _gpu_memory(gpu: Gpu) -> str:
    if gpu.memory_bytes is not None:
        return size(gpu.memory_bytes)
    return "the machine's memory" if gpu.vendor == "apple" else "memory not told"


def _memory(machine: Machine) -> Finding:
    text = f"{size(machine.memory_free_bytes)} free of {size(machine.memory_total_bytes)}"
    if machine.memory_free_bytes >= LITTLE_MEMORY:
        return Finding("machine", "memory", "ok", text)
    return Finding("machine", "memory", "wrong", text, "Close programs, or raise the container's limit.")


def _disk(machine: Machine) -> Finding:
    text = f"{size(machine.disk_free_bytes)} free where models are kept"
    if machine.disk_free_bytes >= LITTLE_DISK:
        return Finding("machine", "disk", "ok", text)
    return Finding("machine", "disk", "wrong", text, "fairway cache clear, or set engine.cache_folder.")


def _limits(known: KnownLimits | None) -> Finding:
    if known is None:
        return Finding("machine", "limits", "note", "not measured yet", "fairway doctor --measure")
    limits, when = known.limits, known.measured[:16].replace("T", " ")
    rates = {"int8": limits.int8_ops_per_s, "bf16": limits.bf16_ops_per_s, "float32": limits.f32_ops_per_s}
    products = ", ".join(f"{name} {rate / 1e12:.2f} TOPS" for name, rate in rates.items() if rate)
    text = f"memory {limits.memory_bytes_per_s / 1e9:.0f} GB/s, {products} (measured {when})"
    if known.others < LITTLE_NOISE:
        return Finding("machine", "limits", "ok", text)
    text += f" while others used {known.others:.0%} of the processor"
    return Finding("machine", "limits", "note", text, "fairway doctor --measure, when the machine is quiet")


def installation_findings(cache_folder: Path) -> Iterator[Finding]:
    """Versions, kernels, folders and extras."""
    python = ".".join(map(str, sys.version_info[:3]))
    yield Finding("installation", "version", "ok", f"Fairway {__version__}, Python {python}")
    if reason := why_reference():
        yield Finding("installation", "kernels", "wrong", reason, "pip install --force-reinstall fairway")
    else:
        yield Finding("installation", "kernels", "ok", f"native, {choose_isa()}")
    for name, folder in (("cache", cache_folder), ("state", state_folder())):
        yield _writable(name, folder)
    yield from _extras()


def _writable(name: str, folder: Path) -> Finding:
    there = next((each for each in (folder, *folder.parents) if each.exists()), folder)
    if os.access(there, os.W_OK):
        return Finding("installation", f"{name} folder", "ok", str(folder))
    fix = f"Make {there} writable, or set {'engine.cache_folder' if name == 'cache' else 'XDG_STATE_HOME'}."
    return Finding("installation", f"{name} folder", "wrong", f"{there} cannot be written", fix)


def _extras() -> Iterator[Finding]:
    """Which optional parts are here, by what the installed package says of itself."""
    for extra, packages in sorted(extras().items()):
        missing = [name for name in packages if not _is_installed(name)]
        if missing:
            text = f"{', '.join(missing)} not installed"
            yield Finding("extras", extra, "note", text, f'pip install "{PACKAGE}[{extra}]"')
        else:
            yield Finding("extras", extra, "ok", "installed")


def extras() -> dict[str, list[str]]:
    """Extra -> packages that it asks for on this system; empty where the package was never installed."""
    try:
        lines = importlib.metadata.requires(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    found: dict[str, list[str]] = {}
    for line in lines:
        extra, name = EXTRA.search(line), REQUIREMENT.match(line)
        if extra is not None and name is not None and _applies(line):
            found.setdefault(extra[1], []).append(name[0])
    return found


def _applies(requirement: str) -> bool:
    """Of the conditions only the system's is looked at."""
    system = re.search(r"sys_platform\s*==\s*['\"](\w+)['\"]", requirement)
    return system is None or system[1] == sys.platform


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
