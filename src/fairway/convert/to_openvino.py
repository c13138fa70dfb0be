"""A Hugging Face folder as OpenVINO's IR: our ONNX graph read by OpenVINO, rounded by NNCF, run and compared.

The rule: the IR is published only if OpenVINO itself computes with it what the source computes.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fairway.convert.encoder_check import compare_encoder
from fairway.convert.finish import compare_with_source
from fairway.convert.graph_runtimes import (
    OnnxRuntime,
    OpenVino,
    is_installed,
    library,
    run_onnx,
    run_openvino,
)
from fairway.convert.job import Conversion
from fairway.convert.openvino_graph import keep_cache_inside, read_weights_as_stored
from fairway.convert.openvino_tokenizer import LIBRARIES, write_tokenizers
from fairway.convert.settings import STORED, ConvertSettings
from fairway.convert.to_onnx import DATA_NAME, huggingface_to_onnx
from fairway.errors import SettingsError
from fairway.formats.bundle import Bundle
from fairway.formats.open import ONNX_NAME
from fairway.formats.openvino_ir import open_openvino
from fairway.models.encoders import is_encoder
from fairway.models.families import read_config
from fairway.proof.thresholds import KINDS
from fairway.proof.verdict import Check

IR_NAME = "openvino_model.xml"
"""As the field's own exporter calls it."""
TYPES: Mapping[str, str] = {"F32": "lossless", "F16": "16-bit", "INT8": "8-bit", "INT4": "4-bit"}
"""What the weights become -> the kind of hop, whose limits hold."""
LOW_BITS = ("I4", "U4", "I8", "U8")
SMALLEST = 4096
"""Numbers of a matrix that counts; the scales of small models have fewer."""
GROUP = 32
"""Weights of a row that share a scale in INT4."""


@dataclass(frozen=True)
class ProveOnnx:
    """Runs the graph where ONNX Runtime is at hand; says so where it is not."""

    kind: str
    leftovers: tuple[str, ...] = ()

    def run(self, source: Bundle, folder: Path) -> Check:
        name = "ONNX Runtime"
        if not is_installed("onnxruntime"):
            return Check(name, "not applicable", "not installed, so the graph was not run")
        path, limits = folder / ONNX_NAME, KINDS[self.kind]
        if is_encoder(source.config):
            return compare_encoder(name, source, run_onnx(path), limits)
        config = read_config(source.config, source.config_name)
        return compare_with_source(name, source, OnnxRuntime(path, config), limits)

    @property
    def tools(self) -> Mapping[str, str]:
        return {"onnxruntime": version("onnxruntime")} if is_installed("onnxruntime") else {}


@dataclass(frozen=True)
class WriteIr:
    """Makes the IR from the ONNX graph beside it."""

    type: str
    leftovers: tuple[str, ...] = (ONNX_NAME, DATA_NAME)

    def run(self, source: Bundle, folder: Path) -> Check:
        self._write(source, folder)
        check = self._compared(source, folder)
        if self.type.startswith("INT"):
            check = self._covered(check, folder)
        if is_encoder(source.config):
            return check
        return replace(check, figure=f"{check.figure}; {write_tokenizers(folder, source.tokenizer)}")

    def _write(self, source: Bundle, folder: Path) -> None:
        """OpenVINO's own model ends with this call: its weights are not held beside those that run."""
        openvino = library("openvino", "openvino")
        model = openvino.Core().read_model(str(folder / ONNX_NAME))
        read_weights_as_stored(model)
        if not is_encoder(source.config):
            keep_cache_inside(model)
        if self.type.startswith("INT"):
            model = self.compressed(model)
        _name(model)
        openvino.save_model(model, str(folder / IR_NAME), compress_to_fp16=self.type == "F16")

    def _compared(self, source: Bundle, folder: Path) -> Check:
        path, limits = folder / IR_NAME, KINDS[TYPES[self.type]]
        if is_encoder(source.config):
            return compare_encoder("OpenVINO", source, run_openvino(path), limits)
        return compare_with_source("OpenVINO", source, OpenVino(path), limits)

    def _covered(self, check: Check, folder: Path) -> Check:
        """A model that says it is rounded must be: matrices that stayed floats are a failure."""
        sizes = {True: 0, False: 0}
        for info in open_openvino(folder / IR_NAME).tensors.infos.values():
            if len(info.shape) > 1 and info.num_elements >= SMALLEST:
                sizes[info.type in LOW_BITS] += info.num_elements
        share = sizes[True] / max(1, sum(sizes.values()))
        figure = f"{check.figure}, {share:.0%} of the matrices in low bits"
        is_low = share >= KINDS[TYPES[self.type]].quantised_share
        return replace(check, figure=figure, status=check.status if is_low else "failed")

    def compressed(self, model: Any) -> Any:  # noqa: ANN401 (OpenVINO's own)
        """Linear layers in `type`; with INT4 the embedding and the head in INT8."""
        nncf = library("nncf", "openvino")
        nncf.set_log_level(logging.WARNING)
        with redirect_stdout(sys.stderr):  # its progress; what is printed is this program's own
            return self._rounded(nncf, model)

    def _rounded(self, nncf: Any, model: Any) -> Any:  # noqa: ANN401
        if self.type == "INT8":
            return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)
        adjusted = nncf.AdvancedCompressionParameters(
            group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST
        )
        return nncf.compress_weights(
            model,
            mode=nncf.CompressWeightsMode.INT4_ASYM,
            group_size=GROUP,
            advanced_parameters=adjusted,
        )

    @property
    def tools(self) -> Mapping[str, str]:
        names = ["openvino", *(["nncf"] if self.type.startswith("INT") else [])]
        names += [name for name in LIBRARIES if is_installed(name)]
        return {name: version(name) for name in names}


def _name(model: Any) -> None:  # noqa: ANN401 (OpenVINO's own)
    """Names that OpenVINO counts up by itself in a process, counted in the model: one model, one digest."""
    for index, operation in enumerate(model.get_ordered_ops()):
        kind, _, number = operation.get_friendly_name().rpartition("_")
        if number.isdigit() and kind.isidentifier():
            operation.set_friendly_name(f"{kind}_{index}")


def version(name: str) -> str:
    from importlib.metadata import version

    return version(name)


def to_onnx(bundle: Bundle, settings: ConvertSettings, target: Path) -> Conversion:
    """The ONNX hop with its graph proved."""
    conversion = huggingface_to_onnx(bundle, settings, target)
    kind = "lossless" if conversion.is_lossless else "16-bit"
    return replace(conversion, finish=ProveOnnx(kind))


def to_openvino(bundle: Bundle, settings: ConvertSettings, target: Path) -> Conversion:
    """Raises `MissingExtra` before anything is written where a library is missing."""
    wanted = ir_type(settings)
    conversion = huggingface_to_onnx(bundle, replace(settings, type="F32"), target)
    return replace(conversion, settings={"type": wanted}, finish=WriteIr(wanted))


def ir_type(settings: ConvertSettings) -> str:
    """What the weights become; the libraries for it are there, or `MissingExtra` is raised."""
    wanted = "F16" if settings.type == STORED else settings.type
    if wanted not in TYPES:
        raise SettingsError(
            f"OpenVINO's IR is written in {', '.join(TYPES)}, not {wanted}.",
            hint="Choose --type f16 (the default), int8 or int4.",
            param="type",
        )
    for name in ("openvino", *(["nncf"] if wanted.startswith("INT") else [])):
        library(name, "openvino")
    return wanted
