"""Both models of a hop in memory: loaded once, for every kind of evidence that needs to run them.

The rule: nothing is loaded before it is asked for, and what stands in the way is said in a sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fairway.errors import FairwayError, FormatError
from fairway.kernels.select import select_backend
from fairway.proof import evaluation_text
from fairway.proof.computation import compare_computations
from fairway.proof.embeddings import EmbeddingsEvidence, compare_embeddings
from fairway.proof.forward import windows
from fairway.proof.hop import Side
from fairway.proof.layers import LayersEvidence, compare_layers
from fairway.proof.logits import LogitsEvidence, compare_logits
from fairway.proof.recorded import Recorded, record_weights
from fairway.proof.settings import ProofSettings
from fairway.proof.strings import Draws
from fairway.proof.thresholds import Thresholds
from fairway.tensors import I32
from fairway.text.loader import load_tokenizer
from fairway.text.tokenizer import Tokenizer

LAYER_TOKENS = 64
"""Tokens that go through the layers one by one."""
NUM_TEXTS = 16
TEXT_CHARS = 400

Progress = Callable[[int, int, str], None]


class NotMeasurable(FairwayError):
    """This evidence does not exist for these two models."""


@dataclass
class Pair:
    """Source and target of one proof."""

    source: Side
    target: Side
    settings: ProofSettings
    thresholds: Thresholds
    progress: Progress

    @cached_property
    def tokenizers(self) -> tuple[Tokenizer, Tokenizer]:
        ours, theirs = self.source.bundle.tokenizer, self.target.bundle.tokenizer
        if ours is None:
            raise NotMeasurable("the source has no tokenizer")
        if theirs is None:
            raise FormatError("The target has lost its tokenizer.")
        return load_tokenizer(ours), load_tokenizer(theirs)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The source's: both models read its ids."""
        if self.source.bundle.tokenizer is None:
            raise NotMeasurable("the source has no tokenizer")
        return load_tokenizer(self.source.bundle.tokenizer)

    @cached_property
    def recorded(self) -> tuple[Recorded, Recorded]:
        """Both with their weights packed, on one team of threads."""
        if not self.settings.run_models:
            raise NotMeasurable("the models were not run")
        backend = select_backend(self.settings.isa, self.settings.threads)
        loaded = []
        for side, name in ((self.source, "source"), (self.target, "target")):
            tell = _told(self.progress, name)
            loaded.append(record_weights(side, self.context, backend, tell))
        return loaded[0], loaded[1]

    @property
    def context(self) -> int:
        configs = [side.config for side in (self.source, self.target) if side.config is not None]
        return min((config.max_context for config in configs), default=1)

    @cached_property
    def ids(self) -> list[I32]:
        """Windows of the text."""
        settings = self.settings
        text = evaluation_text.mixed() if settings.text is None else settings.text
        num_tokens = len(self.tokenizer.encode(text, add_special_tokens=False)) + 1
        length = min(settings.window_tokens, self.context, num_tokens)
        count = max(1, settings.num_windows // 4) if settings.quick else settings.num_windows
        return windows(self.tokenizer, [text], length, count)

    def layers(self) -> LayersEvidence:
        source, target = self._comparable()
        return compare_layers(source, target, self._layer_ids(), self.thresholds.layer_error, self.progress)

    def _layer_ids(self) -> I32:
        """The beginning of the text; made-up ids for a model without a tokenizer."""
        if self.source.bundle.tokenizer is not None:
            return self._checked(self.ids[0][:LAYER_TOKENS])
        draws, config = Draws(1), self.source.config
        assert config is not None
        count = min(LAYER_TOKENS, self.context)
        return np.array([draws.below(config.vocab_size) for _ in range(count)], np.int32)

    def logits(self) -> LogitsEvidence:
        source, target = self._comparable()
        name = evaluation_text.NAME if self.settings.text is None else self.settings.text_name
        ids = [self._checked(window) for window in self.ids]
        return compare_logits(source, target, ids, name, self.progress)

    def embeddings(self) -> EmbeddingsEvidence:
        bundles = self.source.bundle, self.target.bundle
        if not self.settings.embeddings and all(bundle.pooling is None for bundle in bundles):
            raise NotMeasurable("no embedding model")
        source, target = self._comparable()
        texts = [part[:TEXT_CHARS] for part in evaluation_text.sections()[:NUM_TEXTS]]
        return compare_embeddings(((bundles[0], source), (bundles[1], target)), self.tokenizer, texts)

    def _comparable(self) -> tuple[Recorded, Recorded]:
        """Raises where the two do not take the same steps over the same vocabulary."""
        found = compare_computations(self.source, self.target)
        one_sided = any(row.parameter == "step" for row in found.differences)
        ours, theirs = self.source.config, self.target.config
        if ours is None or theirs is None or one_sided or ours.vocab_size != theirs.vocab_size:
            raise NotMeasurable("the two models are built differently")
        if ours.hidden_size != theirs.hidden_size:
            raise NotMeasurable("the two models differ in width")
        return self.recorded

    def _checked(self, ids: I32) -> I32:
        config = self.source.config
        if config is not None and int(ids.max()) >= config.vocab_size:
            raise FormatError("The tokenizer gives ids beyond the model's vocabulary.")
        return ids


def _told(progress: Progress, name: str) -> Progress:
    return lambda done, total, what: progress(done, total, f"{name} {what}")
