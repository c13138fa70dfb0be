"""The processes of one run: each takes a share of the micro-batches, all keep the same weights.

On a CPU that is shared with other work, single-threaded processes that meet once a step are three
times faster than one process with many threads, which would meet after every operation.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor


@dataclass(frozen=True)
class Team:
    """This process's place among `size` processes; alone, every call does nothing."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def sum_(self, tensor: Tensor) -> None:
        """Replace `tensor` by its sum over all processes."""
        if self.size > 1:
            dist.all_reduce(tensor)

    def from_first(self, value: float) -> float:
        """The first process's value, in every process."""
        if self.size == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64)
        dist.broadcast(shared, src=0)
        return shared.item()


def default_size() -> int:
    """One process per allowed CPU core, or one in all where there is a GPU."""
    return 1 if torch.cuda.is_available() else len(os.sched_getaffinity(0))


def run_team(size: int, work: Callable[..., None], *args: object) -> None:
    """Call work(team, *args) in `size` processes, the first of which is this one.

    Stopping or killing this process stops the others at their next meeting.
    """
    if size == 1:
        work(Team(), *args)
        return
    port = _free_port()
    context = mp.get_context("spawn")
    others = [
        context.Process(target=_join, args=(Team(rank, size), port, work, *args), daemon=True)
        for rank in range(1, size)
    ]
    for process in others:
        process.start()
    _join(Team(0, size), port, work, *args)
    for process in others:
        process.join()


def _join(team: Team, port: int, work: Callable[..., None], *args: object) -> None:
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // team.size))
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=address, rank=team.rank, world_size=team.size)
    work(team, *args)
    dist.destroy_process_group()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
