"""What this machine really offers: cores that may be used, instructions, memory that is free, disk.

Needs no privileges and changes nothing. The rule: a limit set on this process (affinity, container
quota, ulimit) counts as the machine's size, and the answer says which limit it was.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fairway.map.cgroup import CgroupLimits, read_limits
from fairway.map.cpu import read_processor

UNTOUCHED_BYTES = 128 << 20
"""Address space that libraries and threads (their stacks, their heaps) take beside memory."""


@dataclass(frozen=True)
class Machine:
    """A machine as a plan sees it."""

    system: str
    arch: str
    processor: str
    features: frozenset[str]
    num_cores: int
    """Threads of execution that this process may keep busy."""
    memory_total_bytes: int
    memory_free_bytes: int
    disk_free_bytes: int
    limits: tuple[str, ...] = ()
    """What made it smaller than the hardware, in words."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"features": sorted(self.features)}


def probe(root: Path = Path("/"), disk: Path | None = None) -> Machine:
    """This machine now. `root` lets a test read recorded files; `disk` is where a model would lie."""
    from psutil import virtual_memory

    system = platform.system()
    processor = read_processor(system, root)
    memory = virtual_memory()
    machine = Machine(
        system=system,
        arch=platform.machine(),
        processor=processor.name,
        features=processor.features,
        num_cores=os.cpu_count() or 1,
        memory_total_bytes=memory.total,
        memory_free_bytes=memory.available,
        disk_free_bytes=free_on_disk(disk or Path("~").expanduser()),
    )
    limits = read_limits(root) if system == "Linux" else CgroupLimits()
    return within(machine, limits, num_allowed_cores(), address_space_left())


def free_on_disk(folder: Path) -> int:
    """Bytes free where a folder is, or would be made."""
    there = next((each for each in (folder, *folder.absolute().parents) if each.exists()), Path("/"))
    return shutil.disk_usage(there).free


def within(
    machine: Machine, cgroup: CgroupLimits, num_allowed: int | None, address_space_bytes: int | None
) -> Machine:
    """The machine cut down to what each limit leaves, and the limits that mattered."""
    said: list[str] = []
    if num_allowed is not None and num_allowed < machine.num_cores:
        said.append(f"affinity allows {num_allowed} of {machine.num_cores} cores")
        machine = replace(machine, num_cores=num_allowed)
    if cgroup.num_cores is not None and cgroup.num_cores < machine.num_cores:
        said.append(f"the container's quota is {cgroup.num_cores:g} cores")
        machine = replace(machine, num_cores=max(1, int(cgroup.num_cores)))
    if cgroup.memory_bytes is not None and cgroup.memory_bytes < machine.memory_total_bytes:
        said.append(f"the container's memory limit is {_size(cgroup.memory_bytes)}")
        free = min(machine.memory_free_bytes, _known(cgroup.memory_free_bytes, cgroup.memory_bytes))
        machine = replace(machine, memory_total_bytes=cgroup.memory_bytes, memory_free_bytes=free)
    if address_space_bytes is not None and address_space_bytes < machine.memory_free_bytes:
        said.append(f"ulimit -v leaves {_size(address_space_bytes)}")
        machine = replace(machine, memory_free_bytes=address_space_bytes)
    return replace(machine, limits=tuple(said))


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.0f} MB"


def _known(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value


def num_allowed_cores() -> int | None:
    """Cores of this process's affinity mask; None where the system has none."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else None


def address_space_left() -> int | None:
    """Bytes that `ulimit -v` still allows; None without such a limit."""
    if sys.platform != "linux":
        return None
    import resource

    from psutil import Process

    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY:
        return None
    return max(0, soft - Process().memory_info().vms - UNTOUCHED_BYTES)
