"""A scikit-learn model in skops' format as ONNX: loaded by skops, made by skl2onnx, predictions compared.

A skops file names the types that it is made of, and only those that skops trusts are built; a pickle would
run whatever it says and is never opened. The rule: the graph predicts what scikit-learn predicts.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fairway.convert.graph_runtimes import is_installed, library, run_onnx
from fairway.convert.job import Conversion
from fairway.convert.onnx_graph import OPSET
from fairway.convert.settings import STORED, ConvertSettings
from fairway.convert.to_openvino import version
from fairway.errors import FormatError, SettingsError, UnsupportedError
from fairway.formats.bundle import Bundle
from fairway.formats.open import ONNX_NAME
from fairway.proof.verdict import Check, judged, not_applicable
from fairway.tensors import F32

EXTRA, LIBRARIES = "sklearn", ("skops", "skl2onnx", "sklearn")
ML_OPSET = 3
TREE = "sklearn.tree._tree.Tree"
"""Numbers only, but one that points outside itself would be followed: each is checked before it is used."""
NUM_ROWS = 512
LEAST_ALIKE, MAX_DIFFERENCE = 0.99, 1e-3
"""Share of the same classes (a row at a threshold may fall on either side of it in float32); of numbers,
relative to the largest above 1."""
MAX_DEPTH = 30
BROKEN = (
    zipfile.BadZipFile, ValueError, TypeError, LookupError, OSError, AttributeError, ImportError,
    RuntimeError,
)  # fmt: skip
"""What skops makes of an archive that does not fit together."""


def skops_to_onnx(bundle: Bundle, settings: ConvertSettings, target: Path) -> Conversion:
    """Raises `UnsupportedError` for types that skops does not trust and models unknown to skl2onnx."""
    if settings.type not in (STORED, "F32"):
        raise SettingsError(
            "A scikit-learn model is written in float32.", hint="Leave --type away.", param="type"
        )
    for name in LIBRARIES:
        library(name, EXTRA)
    model = load(bundle.path)
    return Conversion(
        source=bundle,
        target=target,
        is_folder=True,
        files=(),
        sidecars={ONNX_NAME: _onnx(model, bundle)},
        finish=CompareWithSklearn(),
    )


def load(path: Path) -> Any:  # noqa: ANN401 (an estimator)
    """The model, of trusted types only, with trees that stay inside themselves."""
    skops = library("skops.io", EXTRA)
    try:
        unknown = [name for name in skops.get_untrusted_types(file=path) if name != TREE]
        if unknown:
            raise UnsupportedError(
                f"{path} holds {', '.join(unknown[:3])}, which skops does not trust. Nothing was built.",
                hint="In a process of your own, skl2onnx.to_onnx(model, rows) makes ONNX of it.",
            )
        model = skops.load(path, trusted=[TREE])
    except BROKEN as error:
        raise FormatError(f"{path} is no skops file that can be read: {str(error)[:160]}.") from None
    for tree in _trees(model, 0):
        _check_tree(tree, path)
    return model


def _trees(value: Any, depth: int) -> Iterator[Any]:  # noqa: ANN401
    """Every tree inside a model."""
    if depth > MAX_DEPTH:
        return
    if hasattr(value, "children_left"):
        yield value
    elif isinstance(value, np.ndarray) and value.dtype == object:
        yield from (tree for each in value.ravel() for tree in _trees(each, depth + 1))
    elif isinstance(value, list | tuple):
        yield from (tree for each in value for tree in _trees(each, depth + 1))
    elif isinstance(value, Mapping):
        yield from (tree for each in value.values() for tree in _trees(each, depth + 1))
    elif hasattr(value, "get_params"):
        yield from _trees(vars(value), depth + 1)


def _check_tree(tree: Any, path: Path) -> None:  # noqa: ANN401
    """Children come after their parents and are nodes; features are columns."""
    places = np.arange(tree.node_count)
    for children in (tree.children_left, tree.children_right):
        inner = children != -1
        if (children[inner] <= places[inner]).any() or (children >= tree.node_count).any():
            raise FormatError(f"{path} holds a tree whose branches lead out of it.")
    inner = tree.children_left != -1
    if ((tree.feature[inner] < 0) | (tree.feature[inner] >= tree.n_features)).any():
        raise FormatError(f"{path} holds a tree that reads columns which are not there.")


def _onnx(model: Any, bundle: Bundle) -> bytes:  # noqa: ANN401
    columns = getattr(model, "n_features_in_", None)
    if not isinstance(columns, int):
        raise UnsupportedError(
            f"{bundle.path} holds a model that was not fitted.", hint="Fit it, then save it."
        )
    options = {"zipmap": False} if hasattr(model, "predict_proba") else None
    try:
        made = library("skl2onnx", EXTRA).to_onnx(
            model,
            np.zeros((1, columns), np.float32),
            target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET},
            options=options,
        )
    except Exception as error:  # noqa: BLE001 (skl2onnx raises classes of its own, and plain ones)
        raise UnsupportedError(
            f"skl2onnx does not convert {type(model).__name__}: {str(error).strip().splitlines()[0][:160]}."
        ) from None
    found: bytes = made.SerializeToString()
    return found


@dataclass(frozen=True)
class CompareWithSklearn:
    """The graph and the model itself on random rows."""

    leftovers: tuple[str, ...] = ()

    def run(self, source: Bundle, folder: Path) -> Check:
        if not is_installed("onnxruntime"):
            return not_applicable("ONNX Runtime", "not installed, so the graph was not run")
        model = load(source.path)
        rows = np.random.RandomState(0).normal(0, 2, (NUM_ROWS, model.n_features_in_)).astype(np.float32)
        found = list(run_onnx(folder / ONNX_NAME)({"X": rows}).values())
        pairs = [
            (name, getattr(model, name)) for name in ("predict", "predict_proba") if hasattr(model, name)
        ]
        pairs = pairs or [("transform", model.transform)]
        figures, ok = [], True
        for (name, compute), values in zip(pairs, found, strict=False):
            wanted = np.asarray(compute(rows))
            if wanted.dtype.kind == "f":
                gap = _difference(wanted, np.asarray(values, np.float64))
                ok, figure = ok and gap <= MAX_DIFFERENCE, f"{name} differs by at most {gap:.2g}"
            else:
                alike = float(
                    (wanted.astype(str) == np.asarray(values).reshape(wanted.shape).astype(str)).mean()
                )
                ok, figure = ok and alike >= LEAST_ALIKE, f"{name} alike for {alike:.2%}"
            figures.append(figure)
        return judged(
            "ONNX Runtime", ok, f"{', '.join(figures)} of {NUM_ROWS} random rows", "as scikit-learn"
        )

    @property
    def tools(self) -> Mapping[str, str]:
        names = {
            "skops": "skops",
            "skl2onnx": "skl2onnx",
            "scikit-learn": "sklearn",
            "onnxruntime": "onnxruntime",
        }
        return {name: version(name) for name, module in names.items() if is_installed(module)}


def _difference(wanted: Any, found: Any) -> float:  # noqa: ANN401 (arrays)
    """The 99th percentile, so that a row at a threshold does not decide."""
    gap: F32 = np.abs(wanted.reshape(found.shape) - found).reshape(len(wanted), -1).max(axis=1)
    return float(np.percentile(gap, 99) / max(1.0, float(np.abs(wanted).max())))
