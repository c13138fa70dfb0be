"""The proof of a merge: the base with its adapter beside it, and the merged model as written, say the same.

Both run through the kernels that serve them, on the same text. The rule: one side is not merged, so
that what rounding the sum costs is measured, not assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fairway.convert.finish import NUM_WINDOWS, WINDOW_TOKENS, judged_likeness
from fairway.errors import UnsupportedError
from fairway.formats.bundle import Bundle
from fairway.formats.lora import Adapter
from fairway.formats.open import open_bundle
from fairway.formats.quantized_folder import with_weights
from fairway.kernels.select import select_backend
from fairway.models.adapters import adapter_deltas
from fairway.proof.evaluation_text import mixed
from fairway.proof.forward import Forward, windows
from fairway.proof.hop import Side
from fairway.proof.likeness import Comparison
from fairway.proof.recorded import record_weights
from fairway.proof.thresholds import Thresholds
from fairway.proof.verdict import Check, not_applicable
from fairway.text.loader import load_tokenizer

NAME = "merged as unmerged"


@dataclass(frozen=True)
class MergeProof:
    """`convert.finish.Finish` of a merge."""

    base: Bundle
    adapter: Adapter
    limits: Thresholds
    leftovers: tuple[str, ...] = ()

    @property
    def tools(self) -> Mapping[str, str]:
        return {}

    def run(self, source: Bundle, folder: Path) -> Check:  # noqa: ARG002  it is merged already
        if self.base.tokenizer is None:
            return not_applicable(NAME, "the base has no tokenizer, so there is no text to run")
        try:
            unmerged = _forward(self.base, self.adapter)
        except UnsupportedError as reason:
            return not_applicable(NAME, reason.message)
        merged = _forward(open_bundle(folder, complete=False), None)
        found, largest = Comparison(), 1.0
        length = _length(self.base)
        for ids in windows(load_tokenizer(self.base.tokenizer), [mixed()], length, NUM_WINDOWS):
            start = 1
            for rows, others in zip(unmerged.logits(ids), merged.logits(ids), strict=True):
                largest = max(largest, float(np.abs(rows).max()))
                found.add(rows, others, ids[start : start + len(rows)])
                start += len(rows)
        return judged_likeness(NAME, found, largest, self.limits)


def _forward(bundle: Bundle, adapter: Adapter | None) -> Forward:
    """Raises `UnsupportedError` for an adapter that only counts once it is merged."""
    side = Side(with_weights(bundle))
    if side.config is None:
        raise UnsupportedError(side.obstacle or "this model cannot be run")
    context, takes = side.config.max_context, adapter is not None
    recorded = record_weights(side, context, select_backend(), takes_adapters=takes)
    if adapter is None:
        return Forward(recorded, _length(bundle))
    rank = max(layer.rank for layer in adapter.layers.values())
    return Forward(recorded, _length(bundle), adapter_deltas(recorded.program, adapter, rank))


def _length(bundle: Bundle) -> int:
    config = Side(bundle).config
    return WINDOW_TOKENS if config is None else min(WINDOW_TOKENS, config.max_context)
