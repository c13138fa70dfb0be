"""Text of made-up words of three letters: one token each in the tokenizer of the random models.

The same seed always gives the same words, so equal seeds share a prefix and different ones do not.
"""

from __future__ import annotations

from string import ascii_lowercase

import numpy as np

WORD_LETTERS = 3


def made_up_words(count: int, *seed: int) -> str:
    letters = np.random.default_rng(seed).integers(len(ascii_lowercase), size=(count, WORD_LETTERS))
    return "".join(" " + "".join(ascii_lowercase[index] for index in word) for word in letters)


def num_words(text: str) -> int:
    return text.count(" ")
