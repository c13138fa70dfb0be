"""Memory that ends: recognised whatever raised it, and told with ways to take less.

Under `ulimit -v` or in a small container a library's own words for it differ: MemoryError, ENOMEM, a thread
that cannot start, a shared object that cannot be mapped.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fairway.errors import DoesNotFit

if TYPE_CHECKING:
    from fairway.cli.prepare import Planned

WORDS = ("can't start new thread", "cannot allocate memory", "failed to map segment", "std::bad_alloc")
NAMES = ("MemoryError", "ArrayMemoryError")


def memory_ended(error: BaseException | None) -> bool:
    """Whether this failure, or one that led to it, is the system giving no more memory."""
    while error is not None:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return True
        text = str(error).lower()
        if isinstance(error, RuntimeError | ImportError | OSError) and any(word in text for word in WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False


def without_plan() -> DoesNotFit:
    """Where nothing says how much was planned."""
    return DoesNotFit(
        "The system gives no more memory.",
        hint="Ways to fit: shorter contexts, smaller weights or batches; fewer other programs; "
        "a higher limit (ulimit -v, the container).",
    )


@contextmanager
def within_memory(planned: Planned) -> Iterator[None]:
    """While a plan is carried out. Raises `DoesNotFit` with three ways to take less."""
    try:
        yield
    except Exception as error:
        if not memory_ended(error):
            raise
        raise out_of_memory(planned) from None


def out_of_memory(planned: Planned) -> DoesNotFit:
    """The system gave less than it had promised: what was planned, and the ways to take less."""
    from fairway.map.plan import size
    from fairway.map.planner import ways_to_take_less

    plan = planned.plan
    return DoesNotFit(
        f"{planned.name} was planned with {size(plan.need.total_bytes)} of "
        f"{size(plan.machine.memory_free_bytes)}, and the system gave less.",
        hint=f"Ways to fit: {'; '.join(ways_to_take_less(planned.bundle, plan))}.",
    )
