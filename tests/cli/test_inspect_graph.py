"""`fairway inspect` of graphs: ONNX files and OpenVINO's IR, on the screen, as JSON and as a page."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest
from click.testing import CliRunner

from fairway.cli.inspect import inspect
from fairway.errors import UsageError
from fairway.formats.onnx_schema import SCHEMA
from fairway.formats.protobuf import encode


@pytest.fixture
def path(tmp_path):
    sizes = {"dims": [{"symbol": "batch"}, {"size": 2}]}
    port = {"name": "<b>x</b>", "type": {"tensor": {"element": 1, "shape": sizes}}}
    raw = np.ones((2, 2), np.float32).tobytes()
    graph = {
        "name": "small",
        "nodes": [
            {"op": "MatMul", "name": "m", "inputs": ["<b>x</b>", "w"], "outputs": ["y"]},
            {"op": "Relu", "name": "r\x1b[2J", "inputs": ["y"], "outputs": ["z"]},
        ],
        "initializers": [{"name": "w", "dims": [2, 2], "data_type": 1, "raw_data": raw}],
        "inputs": [port],
        "outputs": [port | {"name": "z"}],
    }
    model = {
        "ir_version": 8,
        "producer_name": "me",
        "opsets": [{"domain": "", "version": 17}],
        "graph": graph,
    }
    (tmp_path / "model.onnx").write_bytes(encode(SCHEMA, "Model", model))
    return tmp_path / "model.onnx"


def run(*arguments):
    result = CliRunner().invoke(inspect, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_operators_inputs_outputs_and_types(path):
    text = run(path, "--tensors")
    for words in ("MatMul", "Relu", "[batch, 2]", "standard 17", "4 in 1 tensors", "2 x 2"):
        assert words in text


def test_json_says_the_same(path):
    found = json.loads(run(path, "--json", "--tensors"))
    assert found["operators"] == {"MatMul": 1, "Relu": 1}
    assert found["inputs"][0]["shape"] == ["batch", 2]
    assert found["types"]["F32"]["num_bytes"] == 16
    assert [each["name"] for each in found["tensors"]] == ["w"]


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)


def test_the_page_draws_every_node_and_nothing_of_the_file_becomes_markup(path, tmp_path):
    run(path, "--html", tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    parser = Tags()
    parser.feed(text)
    assert parser.tags.count("rect") == 4
    assert parser.tags.count("path") == 3
    assert "b" not in parser.tags
    assert "\x1b" not in text
    assert "src=" not in text


def test_the_many_caches_of_a_decoder_are_counted_on_the_page(path, tmp_path):
    from fairway.formats.onnx import open_onnx
    from fairway.formats.protobuf import Reader
    from fairway.formats.source import Source

    message = Reader(Source(path), SCHEMA).message("Model", (0, path.stat().st_size))
    message["graph"]["initializers"] = []
    message["graph"]["inputs"] = [{"name": f"past.{number}"} for number in range(50)]
    path.write_bytes(encode(SCHEMA, "Model", message))
    run(path, "--html", tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "and 44 more" in text
    assert text.count("past.49") > 0
    assert len(open_onnx(path).graph.inputs) == 50


def test_what_a_graph_does_not_have_is_refused(path):
    with pytest.raises(UsageError, match="no digest"):
        run(path, "--digest")
