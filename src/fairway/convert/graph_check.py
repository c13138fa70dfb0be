"""Graphs that come from elsewhere, run on random inputs: they must compute what their source computes.

Inputs are drawn from a fixed seed, in the shapes and types that the graph states; open sizes are small.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from fairway.convert.graph_runtimes import is_installed, run_onnx, run_openvino
from fairway.errors import UnsupportedError
from fairway.formats.graph import Port
from fairway.proof.embeddings import cosine
from fairway.proof.thresholds import Thresholds
from fairway.proof.verdict import Check, judged, not_applicable
from fairway.tensors import F32, Array

Run: TypeAlias = Callable[[Mapping[str, Array]], Mapping[str, Array]]
BATCH, OPEN_SIZE = 2, 16
LEAST_COSINE = {"lossless": 0.9999, "16-bit": 0.999}
MAX_DIFFERENCE = 1e-2
"""Of two outputs where nothing was rounded, relative to the largest number if that is above 1.

Random inputs are nothing that a model was trained on: near a tie it makes much of the order of a sum.
"""
KINDS = {
    "F32": np.float32,
    "F16": np.float16,
    "F64": np.float64,
    "I64": np.int64,
    "I32": np.int32,
    "U8": np.uint8,
}


def random_inputs(ports: Sequence[Port], seed: int = 0) -> dict[str, Array]:
    """Floats between 0 and 1, whole numbers of 0 and 1. Raises `UnsupportedError` for other kinds."""
    random = np.random.RandomState(seed)
    found: dict[str, Array] = {}
    for port in ports:
        if port.type not in KINDS or port.shape is None:
            raise UnsupportedError(f"Input {port.name[:60]!r} is {port.type}, which is not made up here.")
        sizes = [_size(each, axis) for axis, each in enumerate(port.shape)]
        kind = np.dtype(KINDS[port.type])
        drawn = random.uniform(0, 1, sizes) if kind.kind == "f" else random.randint(0, 2, sizes)
        found[port.name] = np.asarray(drawn, kind)
    return found


def _size(stated: int | str, axis: int) -> int:
    if isinstance(stated, int):
        return stated
    return BATCH if axis == 0 else OPEN_SIZE


def reference(path: Path) -> Run:
    """Whoever is at hand to run an ONNX file as it is."""
    return run_onnx(path) if is_installed("onnxruntime") else run_openvino(path)


def compare_graph(name: str, ports: Sequence[Port], wanted: Run, found: Run, limits: Thresholds) -> Check:
    """Both on the same random inputs, output by output in their order."""
    try:
        feeds = random_inputs(ports)
    except UnsupportedError as reason:
        return not_applicable(name, reason.message)
    try:
        before, after = wanted(feeds), found(feeds)
        pairs = [(values, after[key]) for key, values in before.items()]
    except Exception as error:  # noqa: BLE001 (runtimes raise classes of their own, and plain ones)
        return judged(name, False, f"it does not run: {str(error).strip().splitlines()[-1][:160]}", "it runs")
    largest, cosines = 0.0, [1.0]
    for ours, theirs in pairs:
        a, b = _floats(ours), _floats(theirs)
        if a.shape != b.shape or not np.isfinite(b).all():
            return judged(name, False, f"an output of shape {a.shape} became {b.shape}, or is not finite", "")
        largest = max(
            largest, float(np.abs(a - b).max(initial=0)) / max(1.0, float(np.abs(a).max(initial=0)))
        )
        cosines.append(cosine(a, b) if a.any() and b.any() else 1.0)
    least = LEAST_COSINE.get(limits.kind, limits.embedding_cosine)
    ok = min(cosines) >= least and (limits.kind != "lossless" or largest <= MAX_DIFFERENCE)
    figure = f"largest difference {largest:.2g}, cosine at least {min(cosines):.6f}, on random inputs"
    return judged(name, ok, figure, f"cosine at least {least:g}")


def _floats(values: Array) -> F32:
    return np.asarray(values, np.float32).ravel()


def ran(name: str, ports: Sequence[Port], outputs: Sequence[Port], run: Run) -> Check:
    """Where there is nothing to compare with: it runs, and gives finite numbers of the stated shapes."""
    feeds = random_inputs(ports)
    found = run(feeds)
    bad = [
        f"{port.name} is {value.shape}"
        for port, value in zip(outputs, found.values(), strict=True)
        if not _fits(port, value)
    ]
    shapes = ", ".join(str(list(value.shape)) for value in found.values())
    figure = f"ran on random inputs: {shapes}, finite"
    return judged(name, not bad, figure, "finite, of the stated shapes", tuple(bad))


def _fits(port: Port, value: Array) -> bool:
    shape = port.shape or ()
    sizes = zip(shape, value.shape, strict=False)
    is_shape = len(shape) == value.ndim and all(size == n for size, n in sizes if isinstance(size, int))
    return is_shape and bool(np.isfinite(_floats(value)).all())
