"""Which GGUF type each tensor of a model gets in a mix such as Q4_K_M: llama.cpp's rules as a table.

Knows names and shapes, no weights. The rule: the same types as llama-quantize gives, tensor by tensor, for
the architectures that the engine runs; `tests/quantize/data/mixes.json` is what it gave.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fairway.formats.gguf_types import BY_NAME


@dataclass(frozen=True)
class Facts:
    """What the rules ask about a model."""

    architecture: str
    num_layers: int
    num_heads: int
    num_kv_heads: int
    is_tied: bool
    """The token table is the output matrix too."""
    num_experts: int = 0
    has_importance: bool = False

    @property
    def shared_heads(self) -> int:
        """Query heads to one key and value head."""
        return self.num_heads // self.num_kv_heads if self.num_kv_heads else 0


@dataclass(frozen=True)
class Mix:
    file_type: int
    """`general.file_type` of the whole."""
    type: str
    """Of every matrix without a rule of its own."""
    bits_per_weight: float
    """Of a large model, about."""


MIXES: Mapping[str, Mix] = {
    "F32": Mix(0, "F32", 32.0),
    "F16": Mix(1, "F16", 16.0),
    "BF16": Mix(32, "BF16", 16.0),
    "Q8_0": Mix(7, "Q8_0", 8.5),
    "Q6_K": Mix(18, "Q6_K", 6.56),
    "Q5_1": Mix(9, "Q5_1", 6.04),
    "Q5_K_M": Mix(17, "Q5_K", 5.7),
    "Q5_K_S": Mix(16, "Q5_K", 5.57),
    "Q5_0": Mix(8, "Q5_0", 5.57),
    "Q4_1": Mix(3, "Q4_1", 5.12),
    "Q4_K_M": Mix(15, "Q4_K", 4.89),
    "Q4_K_S": Mix(14, "Q4_K", 4.67),
    "Q4_0": Mix(2, "Q4_0", 4.64),
    "IQ4_NL": Mix(25, "IQ4_NL", 4.68),
    "IQ4_XS": Mix(30, "IQ4_XS", 4.46),
    "Q3_K_L": Mix(13, "Q3_K", 4.3),
    "Q3_K_M": Mix(12, "Q3_K", 4.0),
    "Q3_K_S": Mix(11, "Q3_K", 3.64),
    "Q2_K": Mix(10, "Q2_K", 3.16),
    "Q2_K_S": Mix(21, "Q2_K", 2.97),
}
"""From the most exact to the smallest. The bits are those of llama.cpp's table for Llama-3-8B."""


@dataclass(frozen=True)
class Layer:
    """One layer among all of them."""

    index: int
    facts: Facts

    @property
    def is_outer(self) -> bool:
        """The first and the last eighth, and every third between them."""
        count = self.facts.num_layers
        eighth = count // 8
        return self.index < eighth or self.index >= 7 * count // 8 or (self.index - eighth) % 3 == 2

    def is_among_first(self, part: int) -> bool:
        """In the first one-in-`part`."""
        return self.index < self.facts.num_layers // part


Test = Callable[[Layer], bool]


def always(_: Layer) -> bool:
    return True


def outer(layer: Layer) -> bool:
    return layer.is_outer


def first_eighth(layer: Layer) -> bool:
    return layer.is_among_first(8)


def first_sixteenth(layer: Layer) -> bool:
    return layer.is_among_first(16)


def shared_by_four(layer: Layer) -> bool:
    return layer.facts.shared_heads >= 4


def first_eighth_unweighted(layer: Layer) -> bool:
    return first_eighth(layer) and not layer.facts.has_importance


def first_eighth_weighted(layer: Layer) -> bool:
    return first_eighth(layer) and layer.facts.has_importance


def first_two(layer: Layer) -> bool:
    return layer.index < 2


def first_four(layer: Layer) -> bool:
    return layer.index < 4


Rules = Mapping[str, list[tuple[str, Test]]]
_OUTER: Rules = {"value": [("Q6_K", outer)], "down": [("Q6_K", outer)]}
_NON_LINEAR: Rules = {"value": [("Q5_K", shared_by_four)], "down": [("Q5_K", first_eighth_unweighted)]}
RULES: Mapping[str, Rules] = {
    "Q2_K": {
        "value": [("Q4_K", shared_by_four), ("Q3_K", always)],
        "down": [("Q3_K", always)],
        "attention": [("Q3_K", always)],
    },
    "Q2_K_S": {"value": [("Q4_K", shared_by_four)], "down": [("Q4_K", first_eighth)]},
    "Q3_K_M": {
        "value": [("Q5_K", first_two), ("Q4_K", always)],
        "down": [("Q5_K", first_sixteenth), ("Q4_K", always)],
        "attention": [("Q4_K", always)],
    },
    "Q3_K_L": {role: [("Q5_K", always)] for role in ("value", "down", "attention")},
    "Q4_K_S": {"value": [("Q5_K", first_four)], "down": [("Q5_K", first_eighth)]},
    "Q4_K_M": _OUTER,
    "Q5_K_M": _OUTER,
    "IQ4_NL": _NON_LINEAR,
    "IQ4_XS": _NON_LINEAR,
    "Q4_0": {"down": [("Q4_1", first_eighth_weighted)]},
    "Q5_0": {"down": [("Q5_1", first_eighth_weighted)]},
}
"""Mix -> role -> types; the first whose test holds."""

EIGHT_EXPERTS: Mapping[str, str] = {"value": "Q8_0", "key": "Q8_0"}
"""With eight experts attention is a small part of the whole, and gets more."""
EIGHT_EXPERTS_Q5_K = {"Q2_K", "Q3_K_S", "Q3_K_M", "Q4_K_S", "Q4_K_M", "IQ4_NL", "IQ4_XS"}
"""Mixes whose attention output is then Q5_K."""

ROLES = {
    "attn_qkv.weight": "value",
    "attn_kv_b.weight": "value",
    "attn_v.weight": "value",
    "attn_k.weight": "key",
    "attn_output.weight": "attention",
    "ffn_down": "down",
}
"""Part of a name -> role."""
KEPT = (
    "_norm.weight", "ffn_gate_inp.weight", "position_embd", "token_types.weight", "ssm_conv1d",
    "shortconv.conv.weight", "altup", "laurel", "per_layer_model_proj", "attn_rel_b.weight",
)  # fmt: skip
"""Small, and easily harmed."""
FALLBACKS = {
    "Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0", "IQ4_XS": "IQ4_NL",
}  # fmt: skip
"""For rows that are not whole blocks of 256; where they are no blocks of 32 either, F16."""

_LAYER = re.compile(r"^blk\.(\d+)\.")


def type_of(mix: str, name: str, shape: tuple[int, ...], facts: Facts) -> str:
    """The type of the tensor with this GGUF name and shape, outermost size first. Raises `KeyError` for a mix
    that is not in `MIXES`."""
    default = MIXES[mix].type
    if not is_quantized(name, shape):
        return "F32"
    if default in ("F32", "F16", "BF16"):
        return default
    return _fitting(_wanted(mix, name, shape[-1], facts), shape[-1])


def is_quantized(name: str, shape: tuple[int, ...]) -> bool:
    """Whether a tensor is a matrix that mixes make smaller."""
    return len(shape) >= 2 and name.endswith("weight") and not any(part in name for part in KEPT)


def _wanted(mix: str, name: str, columns: int, facts: Facts) -> str:
    default = MIXES[mix].type
    if name == "output.weight" or (facts.is_tied and name == "token_embd.weight"):
        return "Q8_0" if default == "Q8_0" or columns % BY_NAME[default].block_size else "Q6_K"
    found, match = _role(name), _LAYER.match(name)
    if found is None or match is None:
        return default
    layer = Layer(int(match.group(1)), facts)
    if facts.num_experts == 8 and found != "down":
        return _with_experts(mix, found)
    rules = RULES.get(mix, {}).get(found, [])
    wanted = next((type for type, test in rules if test(layer)), default)
    return _more_for_70b(wanted, found, facts)


def _role(name: str) -> str | None:
    return next((role for part, role in ROLES.items() if part in name), None)


def _with_experts(mix: str, role: str) -> str:
    if role == "attention":
        return "Q5_K" if mix in EIGHT_EXPERTS_Q5_K else MIXES[mix].type
    return EIGHT_EXPERTS[role]


def _more_for_70b(wanted: str, role: str, facts: Facts) -> str:
    """In models of 80 layers whose value heads are shared, these matrices are small for what they do."""
    is_70b = facts.num_layers == 80 and (facts.architecture == "qwen2" or facts.shared_heads > 1)
    if role == "value" and is_70b and facts.architecture in ("llama", "qwen2") and wanted in ("Q3_K", "Q4_K"):
        return "Q5_K"
    return wanted


def _fitting(wanted: str, columns: int) -> str:
    for kind in (wanted, FALLBACKS.get(wanted, wanted)):
        if columns % BY_NAME[kind].block_size == 0:
            return kind
    return "F16"
