"""What the allocator keeps of scratch memory goes back to the system.

Parsing a large tokenizer takes and frees about as much as it leaves behind. glibc keeps that for later;
a server that has just loaded its model will not ask for it again.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
LARGE_BYTES = 1 << 20
NEVER = 2**31 - 1


def release_unused() -> None:
    """Takes milliseconds. Does nothing where the C library has no such call."""
    trim = _of_the_c_library("malloc_trim")
    if trim is not None:
        trim(0)


def map_large_arrays() -> None:
    """From now on, what has a megabyte or more is the system's again as soon as it is freed.

    Otherwise unpacked matrices leave holes in the heap that the next ones do not fit: QLoRA would hold three
    times what it uses. Fresh pages cost time.
    """
    option = _of_the_c_library("mallopt")
    if option is not None:
        option(M_MMAP_THRESHOLD, LARGE_BYTES)


def keep_large_arrays() -> None:
    """From now on, what is freed is kept for the next array, whatever its size.

    Each update makes and frees the same gigabytes; asking the system for them anew, which fills each page
    with zeros, takes a seventh of an update (benchmarks/LOG.md).
    """
    option = _of_the_c_library("mallopt")
    if option is not None:
        option(M_MMAP_MAX, 0)
        option(M_TRIM_THRESHOLD, NEVER)


def _of_the_c_library(name: str) -> Callable[..., int] | None:
    """None where the C library has no such call."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
