"""How many threads this process may use: its affinity and its control group's quota, whichever is less.

Knows Linux's control groups, versions 1 and 2. The rule: never more threads than the system will
really run at once, `os.cpu_count()` is only the last resort.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def allowed_cores() -> int:
    """At least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota(_MOUNT, _OWN)
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


def cgroup_quota(mount: Path, own: Path) -> float | None:
    """CPUs granted by the tightest group from this process's own up to the root, or None."""
    quotas = [quota for group in _groups(mount, own) if (quota := _quota_of(group)) is not None]
    return min(quotas, default=None)


def _groups(mount: Path, own: Path) -> list[Path]:
    groups = [mount, mount / "cpu"]
    for line in _read(own).splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        base = mount if controllers == "" else mount / "cpu"
        if controllers == "" or "cpu" in controllers.split(","):
            parts = [part for part in path.split("/") if part not in ("", "..")]
            groups += [base.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
    return groups


def _quota_of(group: Path) -> float | None:
    words = _read(group / "cpu.max").split()
    if not words:
        words = [_read(group / "cpu.cfs_quota_us").strip(), _read(group / "cpu.cfs_period_us").strip()]
    try:
        quota, period = int(words[0]), int(words[1])
    except (IndexError, ValueError):  # "max", or no such file
        return None
    return quota / period if quota > 0 and period > 0 else None


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return ""
