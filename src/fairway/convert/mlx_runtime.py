"""An MLX folder run before it is published: by mlx-lm where it is installed, else read back and run here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from fairway.convert.finish import WINDOW_TOKENS, compare_with_source
from fairway.convert.graph_runtimes import is_installed, library
from fairway.formats.bundle import Bundle
from fairway.formats.open import open_bundle
from fairway.formats.quantized_folder import with_weights
from fairway.kernels.select import select_backend
from fairway.proof.forward import Forward
from fairway.proof.hop import Side
from fairway.proof.recorded import record_weights
from fairway.proof.thresholds import KINDS
from fairway.proof.verdict import Check
from fairway.tensors import F32, I32

LIBRARIES = ("mlx", "mlx_lm")


class MlxLm:
    """A folder in mlx-lm: on the processor under Linux, on the GPU of a Mac."""

    def __init__(self, folder: Path) -> None:
        self._mlx = library("mlx.core", "mlx")
        self._model, _ = library("mlx_lm.utils", "mlx").load_model(folder)

    def __call__(self, ids: I32) -> F32:
        logits = self._model(self._mlx.array(ids[None]))[0]
        return np.array(logits.astype(self._mlx.float32))


class ReadBack:
    """A folder as this engine reads it."""

    def __init__(self, folder: Path) -> None:
        side = Side(with_weights(open_bundle(folder, complete=False)))
        self._forward = Forward(record_weights(side, WINDOW_TOKENS, select_backend()), WINDOW_TOKENS)

    def __call__(self, ids: I32) -> F32:
        return np.concatenate([np.array(rows) for rows in self._forward.logits(ids)])


@dataclass(frozen=True)
class ProveMlx:
    """`kind` is a key of `KINDS`: what so many bits may cost."""

    kind: str
    leftovers: tuple[str, ...] = ()

    def run(self, source: Bundle, folder: Path) -> Check:
        run, name = (MlxLm, "MLX") if self._has_mlx else (ReadBack, "read back (mlx-lm is not installed)")
        return compare_with_source(name, source, run(folder), KINDS[self.kind])

    @property
    def _has_mlx(self) -> bool:
        return all(map(is_installed, LIBRARIES))

    @property
    def tools(self) -> Mapping[str, Any]:
        return {name: version(name.replace("_", "-")) for name in LIBRARIES} if self._has_mlx else {}
