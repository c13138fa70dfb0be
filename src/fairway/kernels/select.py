"""Chooses the backend: native where this machine has a variant, the NumPy reference otherwise.

`FAIRWAY_ISA` (avx512, avx2 or reference) forces one, and is an error where it cannot run. The
rule: falling back to the reference is never silent, `why_reference` says why.
"""

from __future__ import annotations

import os

from fairway.errors import SettingsError
from fairway.kernels.extension import ISAS, MISSING, native_isas
from fairway.kernels.native_backend import NativeBackend
from fairway.kernels.program import Backend
from fairway.kernels.reference import ReferenceBackend

NAMES = ("auto", *ISAS, "reference")


def select_backend(name: str = "auto", threads: int | None = None) -> Backend:
    """A backend by name; "auto" takes FAIRWAY_ISA if set, else the best that this machine runs."""
    if name == "auto":
        name = os.environ.get("FAIRWAY_ISA") or "auto"
    if name not in NAMES:
        raise SettingsError(f"There is no instruction set {name!r}.", hint=f"Known: {', '.join(NAMES)}.")
    if threads is not None and threads < 1:
        raise SettingsError(f"threads must be at least 1, not {threads}.")
    if name == "reference" or (name == "auto" and not native_isas()):
        return ReferenceBackend()
    return NativeBackend(None if name == "auto" else name, threads)


def why_reference() -> str | None:
    """Why "auto" runs the slow reference on this machine, as one sentence; None where it does not."""
    if native_isas():
        return None
    if MISSING:
        return f"The native kernels are not installed ({MISSING}), so the slow NumPy reference runs."
    return "This processor has neither AVX2 nor AVX-512 VNNI, so the slow NumPy reference runs."
