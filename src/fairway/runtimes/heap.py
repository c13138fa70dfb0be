"""What the allocator keeps of scratch memory goes back to the system.

Parsing a large tokenizer takes and frees about as much as it leaves behind. glibc keeps that for later;
a server that has just loaded its model will not ask for it again.
"""

from __future__ import annotations

import ctypes
import sys

M_MMAP_THRESHOLD = -3
LARGE_BYTES = 1 << 20


def release_unused() -> None:
    """Takes milliseconds. Does nothing where the C library has no such call."""
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def map_large_arrays() -> None:
    """From now on, what has a megabyte or more is the system's again as soon as it is freed.

    Otherwise unpacked matrices leave holes in the heap that the next ones do not fit: QLoRA would hold three
    times what it uses. Fresh pages cost time, about a quarter of an update.
    """
    if sys.platform != "linux":
        return
    option = getattr(ctypes.CDLL(None), "mallopt", None)
    if option is not None:
        option(M_MMAP_THRESHOLD, LARGE_BYTES)
