"""Memory that ends while training: one sentence, and what is left to go on with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from fairway.errors import DoesNotFit
from fairway.tune.trainer import Trainer

ALLOCATOR = ("DefaultCPUAllocator", "not enough memory", "can't allocate memory")
"""What PyTorch's plain RuntimeError says where the processor's memory is meant."""


def is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in ALLOCATOR)


@contextmanager
def memory_told(trainer: Trainer) -> Iterator[None]:
    """Raises `DoesNotFit` where memory ends; every other error stays as it is."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        saved = trainer.checkpoints.last_step
        left = "nothing is saved yet" if saved is None else f"the checkpoint of update {saved} is intact"
        again = "Begin" if saved is None else "Free some memory and use --resume, or begin"
        raise DoesNotFit(
            f"Memory ran out in update {trainer.progress.step + 1}; {left}.",
            hint=f"{again} again with gradient_checkpointing, or with a smaller "
            "per_device_train_batch_size or max_length.",
        ) from error
