"""What a proof measures, and against which limits."""

from __future__ import annotations

from dataclasses import dataclass

from fairway.proof.thresholds import Thresholds


@dataclass(frozen=True)
class ProofSettings:
    """The defaults are `fairway verify A B`."""

    quick: bool = False
    """A quarter of the strings and of the text."""
    text: str | None = None
    """What both models read; None: the package's own."""
    text_name: str = "the given text"
    num_windows: int = 8
    """Stretches of text, evenly from all of it; `quick` takes a quarter of them."""
    window_tokens: int = 512
    """At most; a model with a shorter context reads shorter windows."""
    run_models: bool = True
    """False: nothing that needs both models in memory (layers, predictions, embeddings)."""
    embeddings: bool = False
    """Also where the bundle does not say that it is an embedding model."""
    claim: str | None = None
    """The quantised type that the target was asked to have, for the coverage check."""
    thresholds: Thresholds | None = None
    """None: by the kind of hop, told from the stored types."""
    isa: str = "auto"
    threads: int | None = None
