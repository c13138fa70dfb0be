"""What a user chooses about a conversion."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairway.convert.combine_adapters import Combination
from fairway.errors import SettingsError

UNITS = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")
STORED = "stored"
"""The type that changes nothing."""


@dataclass(frozen=True)
class ChosenTypes:
    """Types that were chosen by measuring, in place of a mix's rules."""

    types: Mapping[str, str]
    """GGUF's name of a tensor -> its type."""
    record: Mapping[str, Any]
    """What was measured and why it was chosen, for the lineage."""


@dataclass(frozen=True)
class ConvertSettings:
    """The default of every field is what most people want."""

    to: str
    """A key of `hops.TARGETS`."""
    type: str = STORED
    """A stored type or a mix of them, upper case: "BF16", "Q4_K_M"; "stored" keeps what there is."""
    out: Path | None = None
    """None: a name made from the source's and the type, in the current folder."""
    force: bool = False
    """Replace a target that exists."""
    max_shard_bytes: int = 5 * 10**9
    group_size: int = 64
    """Weights of a row that share a scale, where MLX quantises them."""
    adapters: tuple[Path, ...] = ()
    """LoRA adapters to merge first."""
    adapter_weights: tuple[float, ...] = ()
    """How much each of them counts; empty: 1."""
    combination: Combination = "cat"
    """How several become one; see combine_adapters.py."""
    weights_only: bool = False
    """Convert tensors that come without config and tokenizer."""
    requantize: bool = False
    """Round weights again that were quantised before."""
    accept: str | None = None
    """Publish although a check fails, for this reason; it is recorded with the user's name."""
    chosen: ChosenTypes | None = None
    """To GGUF: what is not among them follows `type`."""


def parse_size(text: str) -> int:
    """ "5GB", "500 MiB" or a number of bytes."""
    match = SIZE.fullmatch(text.strip().lower())
    if match is None or match[2] not in UNITS or float(match[1]) <= 0:
        raise SettingsError(
            f"{text!r} is not a size.", hint="Write it like 5GB or 500MiB.", param="max_shard_size"
        )
    return int(float(match[1]) * UNITS[match[2]])
