"""Coverage: how much of a model really was quantised, in parameters and bytes, by type.

Reads headers only. The rule: a model that says it is quantised (by a type in its name, its
quantization_config, or any quantised tensor) must have its linear layers quantised.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from fairway.formats.bundle import Bundle
from fairway.formats.quantized_folder import method_of
from fairway.proof.hop import Side, is_quantised
from fairway.proof.thresholds import BITS

_NAMED = re.compile(
    r"(?<![A-Za-z0-9])(I?Q[2-8]_(?:K|[01]|NL|XS)|INT[48])(?:_[SML])?(?![A-Za-z0-9])", re.IGNORECASE
)


@dataclass(frozen=True)
class TypeShare:
    """One stored type."""

    num_tensors: int
    num_parameters: int
    num_bytes: int


@dataclass(frozen=True)
class CoverageEvidence:
    """Shares are of the linear layers' weights, 0 to 1."""

    claim: str | None
    """Why this model should be quantised; None where nothing says so."""
    types: Mapping[str, TypeShare]
    """All tensors, the type with most bytes first."""
    quantised_share: float
    """Of the parameters in linear layers."""
    quantised_bytes_share: float
    floats: tuple[str, ...]
    """Linear layers that are still floats, the largest first."""


def measure_coverage(side: Side, claim: str | None = None) -> CoverageEvidence:
    """`claim` names the type that a conversion was asked for."""
    linear = {name: side.info(name) for name in side.linear_names}
    done = [info for info in linear.values() if is_quantised(info.type)]
    floats = [name for name, info in linear.items() if not is_quantised(info.type)]
    return CoverageEvidence(
        claim=claim or _claim(side.bundle),
        types=_types(side),
        quantised_share=_ratio(
            sum(i.num_elements for i in done), sum(i.num_elements for i in linear.values())
        ),
        quantised_bytes_share=_ratio(
            sum(i.num_bytes for i in done), sum(i.num_bytes for i in linear.values())
        ),
        floats=tuple(sorted(floats, key=lambda name: -linear[name].num_elements)),
    )


def _claim(bundle: Bundle) -> str | None:
    if method := method_of(bundle.config):
        return f"its config says {method}"
    if (match := _NAMED.search(bundle.path.name)) is not None:
        return f"its name says {match.group(0).upper()}"
    kinds = sorted({info.type for info in bundle.tensors.infos.values() if info.type in BITS})
    return f"it holds {', '.join(kinds)}" if kinds else None


def _types(side: Side) -> dict[str, TypeShare]:
    found: dict[str, TypeShare] = {}
    for info in map(side.info, side.stored):
        old = found.get(info.type, TypeShare(0, 0, 0))
        found[info.type] = TypeShare(
            old.num_tensors + 1, old.num_parameters + info.num_elements, old.num_bytes + info.num_bytes
        )
    return dict(sorted(found.items(), key=lambda item: -item[1].num_bytes))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
