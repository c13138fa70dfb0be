"""Token streams: encode once, then hand out shuffled windows in an order that a seed decides.

The rule: the windows of a step depend only on (seed, epoch, index, length), all of which are in
the checkpoint, so a run that was killed reads on exactly where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from .settings import Recipe
from .text import Texts, read_texts
from .tokenizer import BEGIN, END, load_tokenizer, train_tokenizer


def encode_documents(tokenizer: Tokenizer, documents: Iterable[str]) -> np.ndarray:
    """All documents as one uint16 array, each between <s> and </s>."""
    begin, end = tokenizer.token_to_id(BEGIN), tokenizer.token_to_id(END)
    parts = [[begin, *tokenizer.encode(text, add_special_tokens=False).ids, end] for text in documents]
    return np.concatenate([np.array(part, dtype=np.uint16) for part in parts])


def prepare(folder: Path, work: Path, recipe: Recipe) -> tuple[Tokenizer, np.ndarray, Texts]:
    """The tokenizer, the training tokens and the texts; made on the first call, cached in `work`."""
    texts = read_texts(folder, recipe.text)
    tokenizer_file, tokens_file = work / "tokenizer.json", work / "tokens.npy"
    if not tokenizer_file.exists():
        trained = train_tokenizer(texts.books + texts.stories, recipe.model.vocab_size)
        trained.save(str(tokenizer_file))
    tokenizer = load_tokenizer(tokenizer_file)
    if not tokens_file.exists():
        documents = texts.books + texts.stories * recipe.text.story_repeats
        np.save(tokens_file, encode_documents(tokenizer, documents))
    return tokenizer, np.load(tokens_file, mmap_mode="r"), texts


@dataclass
class Position:
    """Where a stream stands: which window comes next."""

    epoch: int = 0
    index: int = 0


class WindowStream:
    """Endless batches of windows of one length; each epoch shifts and shuffles them anew."""

    def __init__(self, tokens: np.ndarray, length: int, seed: int) -> None:
        if len(tokens) < 2 * length + 1:
            raise ValueError(f"{len(tokens)} tokens are too few for windows of {length}")
        self.tokens, self.length, self.seed = tokens, length, seed
        self.position = Position()
        self._order: tuple[int, np.ndarray] | None = None

    def next_batch(self, num_windows: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets, both (num_windows, length) of int64."""
        starts = [self._next_start() for _ in range(num_windows)]
        windows = np.stack([self.tokens[s : s + self.length + 1] for s in starts])
        windows = torch.from_numpy(windows.astype(np.int64))
        return windows[:, :-1], windows[:, 1:]

    def state_dict(self) -> dict[str, int]:
        return asdict(self.position)

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.position = Position(**state)

    def _next_start(self) -> int:
        starts = self._starts(self.position.epoch)
        if self.position.index == len(starts):
            self.position = Position(self.position.epoch + 1)
            starts = self._starts(self.position.epoch)
        self.position.index += 1
        return int(starts[self.position.index - 1])

    def _starts(self, epoch: int) -> np.ndarray:
        """First tokens of all windows of one epoch, in the order they are read."""
        if self._order is None or self._order[0] != epoch:
            random = np.random.default_rng([self.seed, self.length, epoch])
            shift = int(random.integers(self.length))
            starts = np.arange(shift, len(self.tokens) - self.length, self.length)
            self._order = epoch, random.permutation(starts)
        return self._order[1]
