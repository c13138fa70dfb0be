"""What the allocator keeps of a start's scratch memory goes back to the system.

Parsing a large tokenizer takes and frees about as much as it leaves behind. glibc keeps that for later;
a server that has just loaded its model will not ask for it again.
"""

from __future__ import annotations

import ctypes
import sys


def release_unused() -> None:
    """Takes milliseconds. Does nothing where the C library has no such call."""
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
