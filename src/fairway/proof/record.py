"""The proof of one hop: who was compared, what was found, the verdict, and who overrode it.

`to_json` is what lineages keep. The rule: a proof that failed is published only after `accept`, and
says so for ever.
"""

from __future__ import annotations

import getpass
import math
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from typing import Any

from fairway.errors import UsageError
from fairway.formats.bundle import Bundle
from fairway.proof.evidence import Evidence
from fairway.proof.thresholds import Thresholds
from fairway.proof.verdict import Verdict

NUM_TENSORS = 10
"""Kept in a short record."""


@dataclass(frozen=True)
class Subject:
    """One side of a hop."""

    name: str
    path: str
    container: str
    num_parameters: int
    weight_bytes: int

    @classmethod
    def of(cls, bundle: Bundle) -> Subject:
        infos = bundle.tensors.infos.values()
        return cls(
            bundle.name,
            str(bundle.path),
            bundle.container,
            sum(info.num_elements for info in infos),
            sum(info.num_bytes for info in infos),
        )


@dataclass(frozen=True)
class Acceptance:
    """A person's decision to publish in spite of failed checks."""

    by: str
    at: str
    """UTC, ISO 8601."""
    reason: str


@dataclass(frozen=True)
class Proof:
    """Evidence and verdict of one hop."""

    source: Subject
    target: Subject
    thresholds: Thresholds
    evidence: Evidence
    verdict: Verdict
    made_at: str
    """UTC, ISO 8601."""
    seconds: float
    fairway_version: str
    accepted: Acceptance | None = None

    @property
    def may_publish(self) -> bool:
        return self.verdict.passed or self.accepted is not None

    def accept(self, reason: str) -> Proof:
        """The same proof with this user's name under it. Raises `UsageError` without a reason."""
        if not reason.strip():
            raise UsageError("An accepted proof needs a reason.", hint='Say why: --accept "REASON".')
        return replace(self, accepted=Acceptance(getpass.getuser(), utc_now(), reason.strip()))

    def to_json(self, *, complete: bool = False) -> dict[str, Any]:
        """As strict JSON has it; infinity and what is no number become null.

        Short enough for a lineage: of the tensors the ten farthest from the source, of the layers no single
        steps. `complete` keeps all.
        """
        values: dict[str, Any] = _strict(asdict(self if complete else replace(self, evidence=self._brief())))
        values["verdict"] |= {"passed": self.verdict.passed, "headline": self.verdict.headline}
        values["evidence"]["num_tensors"] = len(self.evidence.tensors.tensors) if self.evidence.tensors else 0
        values["may_publish"] = self.may_publish
        return values

    def _brief(self) -> Evidence:
        tensors, layers = self.evidence.tensors, self.evidence.layers
        if tensors is not None:
            worst = sorted(tensors.tensors, key=lambda row: (row.is_within, -row.relative))[:NUM_TENSORS]
            tensors = replace(tensors, tensors=tuple(worst))
        if layers is not None:
            layers = replace(layers, stages=tuple(replace(stage, steps=()) for stage in layers.stages))
        return replace(self.evidence, tensors=tensors, layers=layers)


def utc_now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _strict(value: Any) -> Any:  # noqa: ANN401 (as deep as JSON goes)
    if isinstance(value, dict):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
