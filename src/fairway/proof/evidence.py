"""All the evidence of one hop together. None: not gathered, and `notes` or `errors` says why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fairway.proof.computation import ComputationEvidence
from fairway.proof.coverage import CoverageEvidence
from fairway.proof.embeddings import EmbeddingsEvidence
from fairway.proof.layers import LayersEvidence
from fairway.proof.logits import LogitsEvidence
from fairway.proof.template_battery import AnsweringEvidence, TemplateEvidence
from fairway.proof.tensor_differences import TensorEvidence
from fairway.proof.tokenizer_battery import TokenizerEvidence


@dataclass(frozen=True)
class Evidence:
    """What was measured, before anybody judges it."""

    tokenizer: TokenizerEvidence | None = None
    template: TemplateEvidence | None = None
    answering: AnsweringEvidence | None = None
    computation: ComputationEvidence | None = None
    tensors: TensorEvidence | None = None
    coverage: CoverageEvidence | None = None
    layers: LayersEvidence | None = None
    logits: LogitsEvidence | None = None
    embeddings: EmbeddingsEvidence | None = None
    notes: Mapping[str, str] = field(default_factory=dict)
    """Name of a field above -> why it cannot be measured here."""
    errors: Mapping[str, str] = field(default_factory=dict)
    """Name of a field above -> what broke when it was measured, which fails its check."""
