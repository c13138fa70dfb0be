"""Models that are graphs of operators, by their path: ONNX files and OpenVINO's IR."""

from __future__ import annotations

from pathlib import Path

from fairway.formats.graph import GraphModel
from fairway.formats.identify import identify
from fairway.formats.onnx import open_onnx
from fairway.formats.openvino_ir import open_openvino

READERS = {"onnx": open_onnx, "openvino": open_openvino}


def open_graph(path: Path) -> GraphModel | None:
    """None for a path that is no such file. Raises `FormatError` for a broken one."""
    if not path.is_file():
        return None
    read = READERS.get(identify(path).format)
    return read(path) if read else None
