"""ONNX files from elsewhere as OpenVINO's IR: run beside the file, or refused with OpenVINO's own reason."""

import json

import numpy as np
import pytest
from model_folders import converted
from onnx_graphs import write_graph

from fairway.convert.graph_check import compare_graph, ran, random_inputs
from fairway.convert.graph_runtimes import run_openvino
from fairway.errors import ProofFailed, UnsupportedError
from fairway.formats.graph import Port
from fairway.formats.onnx import open_onnx
from fairway.formats.openvino_ir import open_openvino
from fairway.proof.thresholds import KINDS

PORTS = (Port("x", "F32", ("batch", 3)), Port("ids", "I64", ("batch", "length")))


def test_inputs_are_the_same_every_time():
    first, second = random_inputs(PORTS), random_inputs(PORTS)
    assert {name: (each.shape, each.dtype) for name, each in first.items()} == {
        "x": ((2, 3), np.float32),
        "ids": ((2, 16), np.int64),
    }
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    with pytest.raises(UnsupportedError, match="is STRING"):
        random_inputs([Port("words", "STRING", ("batch",))])


def test_a_difference_is_found():
    def doubled(factor):
        return lambda feeds: {"y": feeds["x"] * factor}

    for factor, status in ((2.0, "passed"), (2.1, "failed"), (np.nan, "failed")):
        check = compare_graph("x", PORTS[:1], doubled(2.0), doubled(factor), KINDS["lossless"])
        assert check.status == status
    check = compare_graph("x", PORTS[:1], doubled(2.0), lambda feeds: {"y": feeds["z"]}, KINDS["lossless"])
    assert (check.status, check.figure) == ("failed", "it does not run: 'z'")


def test_shapes_are_held_to_what_is_stated():
    run = {"y": np.zeros((2, 4), np.float32)}
    assert ran("x", PORTS[:1], [Port("y", "F32", ("batch", 4))], lambda feeds: run).status == "passed"
    assert ran("x", PORTS[:1], [Port("y", "F32", ("batch", 5))], lambda feeds: run).status == "failed"


@pytest.mark.parametrize("kind", ["stored", "F32", "INT8"])
@pytest.mark.parametrize("name", ["mnist/opt-mnist.onnx", "magika/model.onnx"])
def test_real_graphs_become_ir(shared, tmp_path, name, kind):
    pytest.importorskip("openvino")
    if kind == "INT8":
        pytest.importorskip("nncf")
    source = shared / "models" / name
    report = converted(source, "openvino", tmp_path / "ir", type=kind)
    assert report.verdict["OpenVINO"].status == "passed"
    assert sorted(path.name for path in (tmp_path / "ir").iterdir()) == [
        "fairway.json", "openvino_model.bin", "openvino_model.xml",
    ]  # fmt: skip
    found = open_openvino(tmp_path / "ir" / "openvino_model.xml")
    assert [port.name for port in found.graph.inputs] == [
        port.name for port in open_onnx(source).graph.inputs
    ]
    [step] = json.loads((tmp_path / "ir" / "fairway.json").read_text())["steps"]
    assert step["hop"] == "onnx graph -> openvino"


def test_what_openvino_does_not_read_is_its_own_sentence(shared, tmp_path):
    pytest.importorskip("openvino")
    source = shared / "models" / "silero-vad" / "silero_vad_16k_op15.onnx"
    with pytest.raises(UnsupportedError, match="OpenVINO does not read this graph"):
        converted(source, "openvino", tmp_path / "ir")
    assert not (tmp_path / "ir").exists()


def test_weights_beside_the_file_come_along(tmp_path):
    pytest.importorskip("openvino")
    path = write_graph(tmp_path, np.arange(12, dtype=np.float32).reshape(3, 4))
    converted(path, "openvino", tmp_path / "ir", type="F32")
    rows = np.ones((2, 3), np.float32)
    found = run_openvino(tmp_path / "ir" / "openvino_model.xml")({"x": rows})
    np.testing.assert_allclose(found["y"], rows @ np.arange(12).reshape(3, 4))


def test_a_graph_that_cannot_run_is_not_published(tmp_path):
    pytest.importorskip("openvino")
    path = write_graph(tmp_path, np.full((3, 4), np.nan, np.float32))
    with pytest.raises(ProofFailed, match="not finite"):
        converted(path, "openvino", tmp_path / "ir", type="F32")
