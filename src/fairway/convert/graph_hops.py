"""Models that are no checkpoints of a language model: Keras's archives and ONNX files from elsewhere.

    .keras -> ONNX, OpenVINO's IR        every number as it is stored, the graph written by us
    .onnx  -> OpenVINO's IR              the file as it is, read by OpenVINO

The rule: what is written is run beside what it was made from, or says that it was not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fairway.convert.graph_check import compare_graph, ran, reference
from fairway.convert.graph_runtimes import is_installed, library, run_onnx, run_openvino
from fairway.convert.job import Conversion, OutputFile, job_of
from fairway.convert.keras_graph import keras_graph
from fairway.convert.onnx_graph import weights_layout
from fairway.convert.openvino_graph import read_weights_as_stored
from fairway.convert.settings import STORED, ConvertSettings
from fairway.convert.to_onnx import DATA_NAME, check_type
from fairway.convert.to_openvino import IR_NAME, TYPES, WriteIr, ir_type, version
from fairway.errors import SettingsError, UnsupportedError
from fairway.formats.bundle import Bundle
from fairway.formats.onnx import open_onnx
from fairway.formats.onnx_tensors import OnnxTensors
from fairway.formats.open import ONNX_NAME
from fairway.proof.thresholds import KINDS
from fairway.proof.verdict import Check, not_applicable


@dataclass(frozen=True)
class RunOnnx:
    """Runs the graph where ONNX Runtime is at hand."""

    leftovers: tuple[str, ...] = ()

    def run(self, source: Bundle, folder: Path) -> Check:  # noqa: ARG002 (the protocol's)
        if not is_installed("onnxruntime"):
            return not_applicable("ONNX Runtime", "not installed, so the graph was not run")
        graph = open_onnx(folder / ONNX_NAME).graph
        return ran("ONNX Runtime", graph.inputs, graph.outputs, run_onnx(folder / ONNX_NAME))

    @property
    def tools(self) -> Mapping[str, str]:
        return {"onnxruntime": version("onnxruntime")} if is_installed("onnxruntime") else {}


@dataclass(frozen=True)
class GraphToIr:
    """Makes the IR from the ONNX file beside it, and compares the two."""

    type: str
    leftovers: tuple[str, ...] = (ONNX_NAME,)

    def run(self, source: Bundle, folder: Path) -> Check:  # noqa: ARG002 (the protocol's)
        self._write(folder)
        graph, limits = open_onnx(folder / ONNX_NAME).graph, KINDS[TYPES[self.type]]
        before, after = reference(folder / ONNX_NAME), run_openvino(folder / IR_NAME)
        return compare_graph("OpenVINO", graph.inputs, before, after, limits)

    def _write(self, folder: Path) -> None:
        openvino = library("openvino", "openvino")
        try:
            model = openvino.Core().read_model(str(folder / ONNX_NAME))
        except RuntimeError as error:
            words = [line for line in str(error).splitlines() if line.strip()]
            raise UnsupportedError(
                f"OpenVINO does not read this graph: {words[-1][:160] if words else 'no reason given'}.",
                hint="Run it with ONNX Runtime.",
            ) from None
        read_weights_as_stored(model)
        if self.type.startswith("INT"):
            model = WriteIr(self.type).compressed(model)
        openvino.save_model(model, str(folder / IR_NAME), compress_to_fp16=self.type == "F16")

    @property
    def tools(self) -> Mapping[str, str]:
        names = ["openvino", *(["nncf"] if self.type.startswith("INT") else [])]
        return {name: version(name) for name in [*names, "onnxruntime"] if is_installed(name)}


def keras_to_onnx(bundle: Bundle, settings: ConvertSettings, target: Path) -> Conversion:
    """Raises `UnsupportedError` naming the first layer that is not converted."""
    check_type(settings.type)
    graph, names = keras_graph(bundle.config, bundle.tensors.infos)
    types = {name: bundle.tensors.infos[name].type for name in names}
    if settings.type not in (STORED, *types.values()):
        raise SettingsError(
            "Keras's numbers are kept as they are stored.", hint="Leave --type away.", param="type"
        )
    jobs = [job_of(bundle, name, kind) for name, kind in types.items()]
    weights = {job.name: job for job in jobs}
    layout = weights_layout(weights)
    return Conversion(
        source=bundle,
        target=target,
        is_folder=True,
        files=(OutputFile(DATA_NAME, layout, tuple(jobs)),),
        sidecars={ONNX_NAME: graph.to_bytes(bundle.name, weights, layout, DATA_NAME)},
        finish=RunOnnx(),
    )


def keras_to_openvino(bundle: Bundle, settings: ConvertSettings, target: Path) -> Conversion:
    wanted = ir_type(settings)
    conversion = keras_to_onnx(bundle, replace(settings, type=STORED), target)
    finish = GraphToIr(wanted, (ONNX_NAME, DATA_NAME))
    return replace(conversion, settings={"type": wanted}, finish=finish)


def script_to_graph(bundle: Bundle, settings: ConvertSettings, target: Path) -> Conversion:  # noqa: ARG001
    """Always refused: tracing a program is running it."""
    raise UnsupportedError(
        f"{bundle.path} is a TorchScript program: making a graph of it would run it. Nothing was executed.",
        hint="Where you trust it, load it with torch.jit.load and write it with torch.onnx.export; "
        "its tensors alone are read: --to safetensors --weights-only.",
    )


def onnx_to_openvino(bundle: Bundle, settings: ConvertSettings, target: Path) -> Conversion:
    """The file and those beside it that it names are laid where OpenVINO reads them."""
    wanted, path = ir_type(settings), bundle.path
    tensors = bundle.tensors
    assert isinstance(tensors, OnnxTensors)
    beside = {str(each.path.relative_to(path.parent)): each.path for each in tensors.sources[1:]}
    files: dict[str, Any] = {ONNX_NAME: path} | beside
    return Conversion(
        source=bundle,
        target=target,
        is_folder=True,
        files=(),
        sidecars={name: each.read_bytes() for name, each in files.items()},
        settings={"type": wanted},
        finish=GraphToIr(wanted, tuple(files)),
    )
