"""What a container allows: CPU quota and memory limit, cgroup v1 and v2, read without privileges.

Limits hold for a group and everything above it, so every level is read and the smallest counts.
`root` is "/" or a recorded machine. Anything missing or unreadable means no limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

# v1 writes "no limit" as a huge page-aligned number.
UNLIMITED_BYTES = 1 << 60


@dataclass(frozen=True)
class CgroupLimits:
    """None: no limit."""

    num_cores: float | None = None
    memory_bytes: int | None = None
    memory_free_bytes: int | None = None


def read_limits(root: Path = Path("/")) -> CgroupLimits:
    """The limits of this process's groups."""
    cores: list[float] = []
    limits: list[int] = []
    free: list[int] = []
    for folder in _v2_folders(root):
        cores += _v2_cores(folder)
        _add_memory(folder, _V2, limits, free)
    for folder in _v1_folders(root, "cpu"):
        cores += _v1_cores(folder)
    for folder in _v1_folders(root, "memory"):
        _add_memory(folder, _V1, limits, free)
    return CgroupLimits(min(cores, default=None), min(limits, default=None), min(free, default=None))


_V2 = ("memory.max", "memory.current", "inactive_file")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def _groups(root: Path) -> dict[str, str]:
    """Controller -> path, from /proc/self/cgroup; the v2 line has an empty controller."""
    groups: dict[str, str] = {}
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        for controller in controllers.split(","):
            groups[controller] = path
    return groups


def _v2_folders(root: Path) -> Iterator[Path]:
    for mount in (root / "sys/fs/cgroup", root / "sys/fs/cgroup/unified"):
        yield from _upwards(mount, _groups(root).get("", "/"))


def _v1_folders(root: Path, controller: str) -> Iterator[Path]:
    yield from _upwards(root / "sys/fs/cgroup" / controller, _groups(root).get(controller, "/"))


def _upwards(mount: Path, group: str) -> Iterator[Path]:
    """The group's folder and those above it. Inside a container the path may not exist; the mount does."""
    path = PurePosixPath(group)
    for level in (path, *path.parents):
        yield mount / str(level).lstrip("/")


def _v2_cores(folder: Path) -> list[float]:
    quota, _, period = _text(folder / "cpu.max").partition(" ")
    return [int(quota) / int(period)] if quota.isdigit() and period.strip().isdigit() else []


def _v1_cores(folder: Path) -> list[float]:
    quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return [quota / period] if quota and period and quota > 0 else []


def _add_memory(folder: Path, names: tuple[str, str, str], limits: list[int], free: list[int]) -> None:
    limit, used = _number(folder / names[0]), _number(folder / names[1])
    if limit is None or limit >= UNLIMITED_BYTES:
        return
    limits.append(limit)
    if used is not None:
        free.append(max(0, limit - max(0, used - _statistic(folder, names[2]))))


def _statistic(folder: Path, name: str) -> int:
    """File pages that the kernel gives up first count as free."""
    for line in _text(folder / "memory.stat").splitlines():
        key, _, value = line.partition(" ")
        if key == name and value.isdigit():
            return int(value)
    return 0


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.lstrip("-").isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
