"""What a choice of types costs: the model's predictions on a text with those types, beside its own.

Weights are rounded as the file would hold them and run through the kernels that serve, so activations are
rounded as they will be. The rule: the exact model is packed once and its logits are computed once; a
measurement packs only the matrices that it rounds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fairway.autoquantize.journal import Journal
from fairway.autoquantize.kept_weights import KeptWeights
from fairway.autoquantize.speed import decode_rate
from fairway.errors import FormatError, UnsupportedError, UsageError
from fairway.formats.bundle import Bundle
from fairway.formats.digest import json_digest
from fairway.kernels.program import Backend
from fairway.models.weights import Weights
from fairway.proof.forward import Forward, windows
from fairway.proof.hop import Side
from fairway.proof.likeness import Comparison, Likeness
from fairway.proof.recorded import Recorded, record
from fairway.proof.rounded import with_rounded
from fairway.tensors import F32, I32
from fairway.text.loader import load_tokenizer

WINDOW_TOKENS = 256
MOST_WINDOWS = 8
FEW_WINDOWS = 2
"""Enough to tell sensitive matrices from others."""
REFERENCE_BYTES = 512 << 20
"""Of the exact model's logits: a large vocabulary is judged on fewer windows, but on `FEW_WINDOWS`."""

LOST = 1e9
"""In place of a figure that is no number any more."""


@dataclass(frozen=True)
class Text:
    """What the models read, and what it is called."""

    name: str
    content: str


@dataclass(frozen=True)
class Measured:
    """A choice of types on the whole text and on this machine."""

    likeness: Likeness
    few_divergence: float
    """Mean KL divergence on the windows that sensitivities are measured on."""
    tokens_per_s: float

    @property
    def flips(self) -> float:
        """Share of tokens whose most likely successor is another."""
        return 1 - self.likeness.same_top


class Measuring:
    """One model on one text. Types are by the names that tensors are stored under."""

    def __init__(self, bundle: Bundle, text: Text, backend: Backend, journal: Journal) -> None:
        self._bundle, self._backend, self._journal = bundle, backend, journal
        self._side = Side(bundle)
        if self._side.config is None:
            raise UnsupportedError(
                f"{bundle.path} cannot be measured: {self._side.obstacle}",
                hint="Choose a type yourself: --to Q4_K_M.",
            )
        self._exact: dict[Hashable, Any] = {}
        self._reference: list[F32] = []
        self.ids = self._windows(text)

    def _windows(self, text: Text) -> list[I32]:
        """Raises `UsageError` for a text that is too short."""
        config = self._side.config
        assert config is not None
        if self._bundle.tokenizer is None:
            raise UnsupportedError(f"{self._bundle.path} has no tokenizer, so it cannot read a text.")
        tokenizer = load_tokenizer(self._bundle.tokenizer)
        length = min(WINDOW_TOKENS, config.max_context)
        fitting = REFERENCE_BYTES // (4 * config.vocab_size * length)
        count = max(FEW_WINDOWS, min(MOST_WINDOWS, fitting))
        num_tokens = len(tokenizer.encode(text.content, add_special_tokens=False))
        if num_tokens < FEW_WINDOWS * length:
            raise UsageError(
                f"{text.name} has {num_tokens:,} tokens; "
                f"{FEW_WINDOWS * length:,} are needed to tell types apart.",
                hint="Give a longer text, or none for Fairway's own.",
            )
        found = windows(tokenizer, [text.content], length, count)
        if max(int(ids.max()) for ids in found) >= config.vocab_size:
            raise FormatError("The tokenizer gives ids beyond the model's vocabulary.")
        return found

    @property
    def num_windows(self) -> int:
        return len(self.ids)

    @property
    def num_tokens(self) -> int:
        return sum(map(len, self.ids))

    @property
    def reference_bytes(self) -> int:
        """Of memory, for the exact model's logits."""
        assert self._side.config is not None
        return 4 * self._side.config.vocab_size * self.num_tokens

    def run_reference(self, progress: Callable[[int, int, str], None]) -> float:
        """Logits of the exact model; the seconds that a window takes."""
        forward, start = self._forward({}), time.perf_counter()
        for done, ids in enumerate(self.ids, 1):
            self._reference.append(np.concatenate([rows.copy() for rows in forward.logits(ids)]))
            if not np.isfinite(self._reference[-1]).all():
                raise FormatError(
                    f"{self._bundle.path} predicts what is no number.",
                    hint="Its weights are damaged: fetch it again.",
                )
            progress(done, len(self.ids), "windows of text")
        return (time.perf_counter() - start) / len(self.ids)

    def divergence(self, types: Mapping[str, str]) -> float:
        """Mean KL divergence in nats per token, on a few windows."""
        return self._kept("few", types, lambda: {"kl": self._divergence(types)})["kl"]

    def measure(self, types: Mapping[str, str]) -> Measured:
        """Everything, on all windows."""

        def made() -> dict[str, float]:
            recorded = self._recorded(types)
            found = self._compared(recorded, list(range(len(self.ids))))
            by_window = found.divergences.reshape(len(self.ids), -1)
            few = float(by_window[self._few].mean())
            figures = asdict(found.result()) | {"few": few, "rate": decode_rate(recorded)}
            return {name: _number(value) for name, value in figures.items()}

        row = dict(self._kept("all", types, made))
        few, rate, num_tokens = row.pop("few"), row.pop("rate"), int(row.pop("num_tokens"))
        return Measured(Likeness(num_tokens=num_tokens, **row), few, rate)

    def knows(self, types: Mapping[str, str], *, few: bool) -> bool:
        """Whether it was measured before."""
        return self._journal.find(_key("few" if few else "all", types)) is not None

    @property
    def _few(self) -> list[int]:
        """Which windows: evenly from all."""
        found: list[int] = np.linspace(0, len(self.ids) - 1, FEW_WINDOWS).round().astype(int).tolist()
        return found

    def _divergence(self, types: Mapping[str, str]) -> float:
        return _number(self._compared(self._recorded(types), self._few).result().kl_mean)

    def _kept(
        self, kind: str, types: Mapping[str, str], make: Callable[[], dict[str, float]]
    ) -> dict[str, float]:
        key = _key(kind, types)
        found = self._journal.find(key)
        if found is None:
            found = make()
            self._journal.note(key, found)
        return found

    def _compared(self, recorded: Recorded, which: list[int]) -> Comparison:
        forward, found = Forward(recorded, len(self.ids[0])), Comparison()
        for index in which:
            ids, want, start = self.ids[index], self._reference[index], 0
            for rows in forward.logits(ids):
                end = start + len(rows)
                found.add(want[start:end], rows, ids[start + 1 : end + 1])
                start = end
        return found

    def _forward(self, types: Mapping[str, str]) -> Forward:
        return Forward(self._recorded(types), len(self.ids[0]))

    def _recorded(self, types: Mapping[str, str]) -> Recorded:
        bundle = with_rounded(self._bundle, types)
        changed = {family for family, stored in self._side.stored.items() if stored in types}
        weights = KeptWeights(Weights(bundle, self._backend, "stored"), self._exact, changed)
        return record(self._side, weights, len(self.ids[0]), self._backend)


def _number(value: float) -> float:
    return value if math.isfinite(value) else LOST


def _key(kind: str, types: Mapping[str, str]) -> str:
    return f"{kind} {json_digest(dict(types))}"
