"""The runtimes that run our graphs: ONNX Runtime and OpenVINO, each imported only when it is used.

A whole text at once, without a past: what a proof needs.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fairway.errors import MissingExtra
from fairway.models.config import DecoderConfig
from fairway.tensors import F32, I32, Array

EXACT = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
"""OpenVINO computes in float32 then, on processors that would choose bfloat16 too."""


ORDER = "beam_idx"
"""Which sequence of the batch before each one of a stateful IR continues."""


def is_installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


def library(name: str, extra: str) -> Any:  # noqa: ANN401 (a module)
    """Raises `MissingExtra` naming the command that installs it."""
    if not is_installed(name):
        raise MissingExtra(
            f"This needs {name}, which is not installed.", hint=f"pip install 'fairway[{extra}]'"
        )
    return importlib.import_module(name)


def feeds(config: DecoderConfig, ids: I32) -> dict[str, Any]:
    """One text from its beginning: an empty past."""
    empty = np.zeros((1, config.num_kv_heads, 0, config.head_size), np.float32)
    past = {
        f"past_key_values.{layer}.{part}": empty
        for layer in range(config.num_layers)
        for part in ("key", "value")
    }
    return text(ids) | past


def text(ids: I32) -> dict[str, Any]:
    """One text without padding."""
    count = len(ids)
    return {
        "input_ids": ids[None].astype(np.int64),
        "attention_mask": np.ones((1, count), np.int64),
        "position_ids": np.arange(count, dtype=np.int64)[None],
    }


class OnnxRuntime:
    """A model file in ONNX Runtime on the processor."""

    def __init__(self, path: Path, config: DecoderConfig) -> None:
        runtime = library("onnxruntime", "onnx")
        self._session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self._config = config

    def __call__(self, ids: I32) -> F32:
        [logits] = self._session.run(["logits"], feeds(self._config, ids))
        found: F32 = logits[0]
        return found


class OpenVino:
    """A decoder's IR in OpenVINO on the processor. Its cache is state, which every text begins anew."""

    def __init__(self, path: Path) -> None:
        openvino = library("openvino", "openvino")
        self._request = openvino.Core().compile_model(str(path), "CPU", EXACT).create_infer_request()

    def __call__(self, ids: I32) -> F32:
        self._request.reset_state()
        inputs = text(ids) | {ORDER: np.zeros(1, np.int32)}
        found: F32 = np.array(self._request.infer(inputs)["logits"])[0]
        return found


def run_onnx(path: Path) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
    """Any model in ONNX Runtime: inputs by name -> outputs by name."""
    runtime = library("onnxruntime", "onnx")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(names, dict(feeds)), strict=True))


def run_openvino(path: Path) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
    """Any model without state in OpenVINO: inputs by name -> outputs by name."""
    model = library("openvino", "openvino").Core().compile_model(str(path), "CPU", EXACT)

    def run(feeds: Mapping[str, Array]) -> dict[str, Array]:
        found = model(dict(feeds))
        return {name: np.array(found[port]) for port in model.outputs for name in port.names}

    return run
