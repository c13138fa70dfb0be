"""Processor time that a process and its children have used, for servers that should use none when idle."""

from __future__ import annotations

import time

import psutil


def cpu_seconds(pid: int) -> float:
    """User and system time of `pid` and of its children that live."""
    process = psutil.Process(pid)
    everyone = [process, *process.children(recursive=True)]
    return sum(sum(each.cpu_times()[:2]) for each in everyone)


def cpu_per_minute(pid: int, seconds: float) -> float:
    """Seconds of processor time per minute, measured over `seconds`."""
    before, start = cpu_seconds(pid), time.perf_counter()
    time.sleep(seconds)
    return (cpu_seconds(pid) - before) / (time.perf_counter() - start) * 60
