"""What a hop may cost, by its kind: nothing where nothing need be lost, else what so few bits cost.

A limit is there to catch a broken conversion, not to rank good ones: it lies above what the best and the
worst of ordinary weights show, and far below what one wrong tensor does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


def rounding_error(bits: float, block: int) -> float:
    """The largest relative error (rms over rms) that rounding a block to `bits` should show.

    2**bits steps over -absmax..absmax leave absmax / 2**(bits - 1) / sqrt(12); a block in which one value
    stands alone has an rms of absmax / sqrt(block). Ordinary weights show half of it.
    """
    return math.sqrt(block / 12) * 2 ** (1 - bits)


BITS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "Q8_0": (8, 32), "Q6_K": (6, 16), "INT6": (6, 32), "Q5_0": (5, 32), "Q5_1": (5, 32),
        "Q5_K": (5, 32), "INT5": (5, 32), "Q4_0": (4, 32), "Q4_1": (4, 32), "Q4_K": (4, 32),
        "IQ4_NL": (4, 32), "IQ4_XS": (4, 32), "MXFP4": (4, 32), "Q3_K": (3, 16), "Q2_K": (2, 16),
        # Checkpoints choose how many weights share a scale, up to whole rows.
        "INT4": (4, 128), "INT4_ASYM": (4, 128), "INT8": (8, 1024), "INT8_ASYM": (8, 1024),
        "INT2_ASYM": (2, 128), "INT3_ASYM": (3, 128), "INT5_ASYM": (5, 128), "INT6_ASYM": (6, 128),
    }
)  # fmt: skip
"""Quantised type -> bits of a value, values that share a scale."""

FLOAT_BITS: Mapping[str, int] = MappingProxyType({"F32": 24, "F16": 11, "BF16": 8})
"""Float type -> significant bits."""


@dataclass(frozen=True)
class Thresholds:
    """The limits of one hop; every one can be set on its own."""

    kind: str
    """"lossless", "16-bit", "8-bit", ... "2-bit": where the defaults come from."""
    kl_mean: float
    """Nats per token, of KL(source || target)."""
    same_top: float
    """The least share of tokens with the same most likely next token."""
    layer_error: float
    """Of one layer, and of each step in it, on the source's own hidden states: rms of the difference over
    rms of what it adds."""
    embedding_cosine: float
    """The least, between pooled hidden states of the same text."""
    quantised_share: float = 0.9
    """The least share of the linear layers' weights that must be quantised, where the model says it is."""
    relative_error: Mapping[str, float] = field(
        default_factory=lambda: {name: rounding_error(*shape) for name, shape in BITS.items()}
    )
    """Target type -> the largest relative error of a tensor."""

    def tensor_limit(self, source_type: str, target_type: str) -> float:
        """The relative error a tensor may have after this hop; 0: the same values, bit for bit."""
        if source_type == target_type or target_type == "F32":
            return 0.0
        if target_type in FLOAT_BITS:
            return float(2.0 ** -FLOAT_BITS[target_type])
        return self.relative_error.get(target_type, rounding_error(4, 32))


KINDS: Mapping[str, Thresholds] = {
    kind: Thresholds(kind, kl_mean, same_top, layer_error, embedding_cosine)
    for kind, (kl_mean, same_top, layer_error, embedding_cosine) in {
        # The same weights through different kernels: sums in another order, nothing else.
        "lossless": (1e-5, 0.999, 1e-4, 0.999999),
        # bf16 weights of a float32 model: 6e-5, 99.4 % and 0.004 at a quarter of a million parameters.
        "16-bit": (1e-3, 0.985, 0.02, 0.9999),
        # Measured on models of a quarter to six million parameters, where rounding hurts most, files of
        # llama.cpp among them: 0.002, 96 % and 0.025 with 8 bits; 0.003, 94 % and 0.034 with 6; 0.02, 91 %
        # and 0.07 with 5; 0.14, 78 % and 0.2 with 4; 0.05, 82 % and 0.19 with 3; 0.27, 61 % and 0.39 with 2.
        "8-bit": (0.01, 0.92, 0.08, 0.999),
        "6-bit": (0.02, 0.9, 0.12, 0.995),
        "5-bit": (0.06, 0.85, 0.2, 0.99),
        "4-bit": (0.3, 0.7, 0.45, 0.97),
        "3-bit": (0.5, 0.6, 0.55, 0.93),
        "2-bit": (1.0, 0.45, 0.8, 0.85),
    }.items()
}
"""Kind of hop -> its limits."""
