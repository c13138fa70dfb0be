"""The C++ extension, or why there is none: the one place that imports it.

The rule: importing this module never fails, so that the reference backend runs anywhere. `native`
is None where `native_isas()` is empty for want of the extension; ask that first.
"""

from __future__ import annotations

import atexit

__all__ = ["ISAS", "MISSING", "native", "native_isas"]

ISAS = ("avx512", "avx2_vnni", "avx2", "neon_i8mm", "neon")

try:
    from fairway.kernels import _native as native
except ImportError as problem:  # not built, or built for another Python
    native = None  # type: ignore[assignment]
    MISSING: str | None = str(problem)
else:
    MISSING = None
    atexit.register(native.close)


def native_isas() -> tuple[str, ...]:
    """The variants that this machine runs, best first."""
    return () if MISSING else tuple(isa for isa in ISAS if native.has_variant(isa))
