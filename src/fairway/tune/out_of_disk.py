"""A disk that is full, wherever in a run: one sentence, and what is left to go on with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fairway.errors import DoesNotFit
from fairway.tune.checkpoints import FULL_DISK
from fairway.tune.run_folder import RunFolder


@contextmanager
def disk_told(folder: RunFolder) -> Iterator[None]:
    """Raises `DoesNotFit` where the run's disk is full; every other error stays as it is."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        saved = folder.checkpoints.last_step
        left = "nothing is saved yet" if saved is None else f"the checkpoint of update {saved} is intact"
        how = "with --resume" if folder.is_there else "again"
        raise DoesNotFit(
            f"The disk of {folder.path} is full; {left}.",
            hint=f"Free some space and run the same command {how}.",
        ) from error
