"""In which order rows are seen: a function of seed and epoch alone, so that training can go on anywhere."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def shuffled(num_rows: int, *, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Every row number once."""
    return random_of(seed, epoch).permutation(num_rows).astype(np.int64)


def random_of(*seeds: int) -> np.random.RandomState:
    """NumPy keeps the numbers of `RandomState` the same in all versions."""
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seeds)))
