"""The verdict: every check by name, with what was found and what was asked for.

Knows no model. The rule: a check that could not be made says why; it never counts as passed, and a
verdict in which nothing was checked is no pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["passed", "failed", "not applicable"]


@dataclass(frozen=True)
class Check:
    """One question and its answer."""

    name: str
    status: Status
    figure: str
    """What was found, as a reader wants to see it."""
    limit: str = ""
    """What was asked for."""
    details: tuple[str, ...] = ()
    """What a reader needs to find the cause: first differences, names, reasons."""


@dataclass(frozen=True)
class Verdict:
    """All checks of one proof, in the order in which they were made."""

    checks: tuple[Check, ...] = ()

    @property
    def failed(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.status == "failed")

    @property
    def num_made(self) -> int:
        """Checks that could be made."""
        return sum(check.status != "not applicable" for check in self.checks)

    @property
    def passed(self) -> bool:
        return not self.failed and self.num_made > 0

    @property
    def headline(self) -> str:
        """One sentence."""
        if self.failed:
            names = ", ".join(check.name for check in self.failed)
            return f"{len(self.failed)} of {self.num_made} checks failed: {names}."
        if not self.num_made:
            return "Nothing could be checked."
        return f"All {self.num_made} checks passed."

    def __getitem__(self, name: str) -> Check:
        return next(check for check in self.checks if check.name == name)


def not_applicable(name: str, why: str) -> Check:
    return Check(name, "not applicable", why)


def judged(name: str, ok: bool, figure: str, limit: str, details: tuple[str, ...] = ()) -> Check:
    return Check(name, "passed" if ok else "failed", figure, limit, details)
