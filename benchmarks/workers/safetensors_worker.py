"""Seconds to load a safetensors file with Fairway and with the library: FILE ROUNDS, prints JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from fairway.formats.safetensors import open_safetensors

WORDS_OF_A_PAGE = 4096 // 2
Arrays = dict[str, np.ndarray[Any, Any]]


def ours(path: Path) -> Arrays:
    file = open_safetensors(path)
    return {name: file.read(name).values for name in file.infos}


def theirs(path: Path) -> Arrays:
    import torch

    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name).view(torch.uint16).numpy() for name in file.keys()}  # noqa: SIM118


def read_pages(arrays: Mapping[str, np.ndarray[Any, Any]]) -> int:
    """A word of every page, so that the system has to map it."""
    return sum(int(each.reshape(-1)[::WORDS_OF_A_PAGE].sum(dtype=np.uint64)) for each in arrays.values())


def timed(load: Callable[[Path], Arrays], path: Path) -> tuple[float, float, int]:
    start = time.perf_counter()
    arrays = load(path)
    opened = time.perf_counter()
    total = read_pages(arrays)
    return opened - start, time.perf_counter() - start, total


def main() -> None:
    path, rounds = Path(sys.argv[1]), int(sys.argv[2])
    programs: dict[str, Callable[[Path], Arrays]] = {"Fairway": ours, "safetensors": theirs}
    assert timed(ours, path)[2] == timed(theirs, path)[2]
    found: dict[str, dict[str, list[float]]] = {name: {"open_s": [], "read_s": []} for name in programs}
    for turn in range(rounds):
        for name in sorted(programs, reverse=bool(turn % 2)):
            opened, read, _ = timed(programs[name], path)
            found[name]["open_s"].append(opened)
            found[name]["read_s"].append(read)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
