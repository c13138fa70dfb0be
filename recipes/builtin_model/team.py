"""The processes of one run: each takes a share of the micro-batches, all keep the same weights.

On a CPU that is shared with other work, single-threaded processes that meet a few times per step
are three times faster than one process with many threads, which would meet after every operation.
They meet in shared memory: a library for networks would add threads that wait for a core too.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from multiprocessing.synchronize import Barrier

import torch
import torch.multiprocessing as mp
from torch import Tensor

BOARD_SIZE = 8_000_000


class Team:
    """This process's place among `size` processes; alone, every call does nothing.

    Every process must make the same calls in the same order. There are two boards, used in turn:
    whoever writes on one knows, from the meeting at the other, that all have read it.
    """

    def __init__(
        self, rank: int = 0, size: int = 1, boards: Tensor | None = None, barrier: Barrier | None = None
    ) -> None:
        self.rank, self.size = rank, size
        self._boards, self._barrier = boards, barrier
        self._turn = 0

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def sum_(self, tensor: Tensor) -> None:
        """Replace `tensor`, of at most BOARD_SIZE numbers, by its sum over all processes."""
        if self._boards is None or self._barrier is None:
            return
        board = self._boards[self._turn, :, : tensor.numel()]
        self._turn = 1 - self._turn
        board[self.rank].copy_(tensor.flatten())
        self._barrier.wait()
        tensor.copy_(board.sum(0).view_as(tensor))

    def from_first(self, value: float) -> float:
        """The first process's value, in every process."""
        if self.size == 1:
            return value
        shared = torch.tensor(value if self.is_first else 0.0)
        self.sum_(shared)
        return shared.item()


def replace_by_sums(tensors: list[Tensor], team: Team) -> None:
    """Sum each tensor over all processes, in one message."""
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    team.sum_(flat)
    parts = flat.split([tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view_as(tensor))


def default_size() -> int:
    """One process per allowed CPU core, or one in all where there is a GPU."""
    return 1 if torch.cuda.is_available() else len(os.sched_getaffinity(0))


def run_team(size: int, work: Callable[..., None], *args: object) -> None:
    """Call work(team, *args) in `size` processes, the first of which is this one.

    Stopping this process makes the others wait for it; killing it ends them.
    """
    if size == 1:
        work(Team(), *args)
        return
    context = mp.get_context("spawn")
    boards = torch.zeros(2, size, BOARD_SIZE).share_memory_()
    barrier = context.Barrier(size)
    others = [
        context.Process(target=_join, args=(rank, size, boards, barrier, work, *args), daemon=True)
        for rank in range(1, size)
    ]
    for process in others:
        process.start()
    _join(0, size, boards, barrier, work, *args)
    for process in others:
        process.join()


def _join(
    rank: int, size: int, boards: Tensor, barrier: Barrier, work: Callable[..., None], *args: object
) -> None:
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // size))
    if rank > 0:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work(Team(rank, size, boards, barrier), *args)
    except BaseException:
        barrier.abort()
        raise


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)
