"""Chooses the backend: native where this machine has a variant, the NumPy reference otherwise.

`FAIRWAY_ISA` (a name of `ISAS`, or reference) forces one, and is an error where it cannot run. The
rule: falling back to the reference is never silent, `why_reference` says why.
"""

from __future__ import annotations

import os
from typing import Literal, TypeAlias, cast

from fairway.errors import SettingsError
from fairway.kernels.extension import ISAS, MISSING, native_isas
from fairway.kernels.native_backend import NativeBackend
from fairway.kernels.program import Backend
from fairway.kernels.reference import ReferenceBackend

Isa: TypeAlias = Literal["avx512", "avx2_vnni", "avx2", "neon_i8mm", "neon", "reference"]
NAMES = ("auto", *ISAS, "reference")


def choose_isa(name: str = "auto") -> Isa:
    """What a name stands for here; "auto" takes FAIRWAY_ISA if set, else the best that this machine runs."""
    if name == "auto":
        name = os.environ.get("FAIRWAY_ISA") or "auto"
    if name not in NAMES:
        raise SettingsError(f"There is no instruction set {name!r}.", hint=f"Known: {', '.join(NAMES)}.")
    return cast("Isa", (*native_isas(), "reference")[0] if name == "auto" else name)


def select_backend(name: str = "auto", threads: int | None = None) -> Backend:
    """A backend by name, as `choose_isa` reads it."""
    isa = choose_isa(name)
    if threads is not None and threads < 1:
        raise SettingsError(f"threads must be at least 1, not {threads}.")
    return ReferenceBackend() if isa == "reference" else NativeBackend(isa, threads)


def why_reference() -> str | None:
    """Why "auto" runs the slow reference on this machine, as one sentence; None where it does not."""
    if native_isas():
        return None
    if MISSING:
        return f"The native kernels are not installed ({MISSING}), so the slow NumPy reference runs."
    return "This processor has neither AVX2 nor Arm's dot product, so the slow NumPy reference runs."
