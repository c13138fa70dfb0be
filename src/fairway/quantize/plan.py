"""What quantising a GGUF file will do, known before a byte is written: every tensor's type and size.

Reads headers only. The rule: whatever can be refused is refused here, and weights that were rounded once are
not rounded again unless that is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from fairway.errors import SettingsError, UnsupportedError
from fairway.formats.floats import FLOATS
from fairway.formats.gguf import GgufFile, GgufTensor
from fairway.formats.gguf_types import BY_NAME
from fairway.quantize.mixes import MIXES, Facts, is_quantized, type_of


@dataclass(frozen=True)
class PlannedTensor:
    """One tensor on its way from a file to another type, or to the same."""

    file: GgufFile
    tensor: GgufTensor
    type: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensor.info.shape

    @property
    def num_bytes(self) -> int:
        kind = BY_NAME[self.type]
        return prod(self.shape) // kind.block_size * kind.block_bytes

    @property
    def is_copy(self) -> bool:
        return self.type == self.tensor.type.name

    @property
    def num_rows(self) -> int:
        return prod(self.shape[:-1])


Plan = dict[str, PlannedTensor]


def plan_mix(files: list[GgufFile], mix: str, *, importance: bool = False, requantize: bool = False) -> Plan:
    """Every tensor of a file, or of the parts of one, in the order they lie there.

    Raises `SettingsError` for an unknown mix and `UnsupportedError` for weights that are quantised already,
    unless `requantize`.
    """
    mix = known_mix(mix)
    metadata, names = files[0].metadata, {name for file in files for name in file.tensors}
    facts = facts_of(metadata, names, importance=importance)
    plan = {
        name: PlannedTensor(file, tensor, _type_of(mix, tensor, facts))
        for file in files
        for name, tensor in file.tensors.items()
    }
    for planned in plan.values():
        _check(planned, requantize)
    return plan


def known_mix(name: str) -> str:
    """As `MIXES` spells it."""
    spelled = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}.get(name.upper(), name.upper())
    if spelled not in MIXES:
        raise SettingsError(
            f"There is no type {name!r}.",
            hint=f"There are: {', '.join(MIXES)}.",
            param="type",
        )
    return spelled


def facts_of(metadata: Mapping[str, Any], names: Iterable[str], *, importance: bool = False) -> Facts:
    """What the mixes ask, from a file's metadata and the names of its tensors."""
    architecture = str(metadata.get("general.architecture", ""))

    def largest(key: str) -> int:
        """Heads may be listed layer by layer."""
        value = metadata.get(f"{architecture}.{key}", 0)
        values = value if isinstance(value, list) else [value]
        return max((each for each in values if isinstance(each, int)), default=0)

    heads = largest("attention.head_count")
    return Facts(
        architecture=architecture,
        num_layers=largest("block_count"),
        num_heads=heads,
        num_kv_heads=largest("attention.head_count_kv") or heads,
        is_tied="output.weight" not in names,
        num_experts=largest("expert_count"),
        has_importance=importance,
    )


def _type_of(mix: str, tensor: GgufTensor, facts: Facts) -> str:
    """Vectors and other small tensors are left as they are."""
    name, shape = tensor.info.name, tensor.info.shape
    return type_of(mix, name, shape, facts) if is_quantized(name, shape) else tensor.type.name


def _check(planned: PlannedTensor, requantize: bool) -> None:
    kind = planned.tensor.type
    is_asked_for = requantize or planned.type in FLOATS
    if planned.is_copy or kind.name in FLOATS or (is_asked_for and kind.is_readable):
        return
    path, name = planned.file.source.path, planned.tensor.info.name
    if not kind.is_readable:
        raise UnsupportedError(
            f"Tensor {name!r} of {path} is {kind.name}, which cannot be read.",
            hint="Start from the model in F16, BF16 or F32.",
        )
    raise UnsupportedError(
        f"{path} is quantised already ({name} is {kind.name}): rounding twice loses more than once.",
        hint="Start from the model in F16, BF16 or F32, or allow it with --requantize.",
    )
