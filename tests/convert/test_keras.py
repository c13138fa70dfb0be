"""Keras's archives as ONNX: the predictions that Keras recorded, and every kind of layer that is refused."""

import io
import json
import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
from model_folders import converted, same_weights

from fairway.convert.keras_graph import keras_graph
from fairway.convert.keras_layers import LAYERS
from fairway.errors import FairwayError, FormatError, UnsupportedError
from fairway.formats.identify import identify
from fairway.formats.onnx import open_onnx
from fairway.formats.open import ONNX_NAME, obstacle, open_bundle

GOLDENS = Path(__file__).parent / "goldens" / "keras"
CASES = sorted(path.stem for path in GOLDENS.glob("*.npz"))


@pytest.mark.parametrize("name", CASES)
def test_predictions_are_those_of_keras(name, runtime, tmp_path):
    converted(GOLDENS / f"{name}.keras", "onnx", tmp_path / "onnx")
    recorded = np.load(GOLDENS / f"{name}.npz")
    feeds = {key.removeprefix("in "): recorded[key] for key in recorded if key.startswith("in ")}
    wanted = [recorded[key] for key in sorted(recorded) if key.startswith("out ")]
    found = runtime(tmp_path / "onnx" / ONNX_NAME)(feeds)
    names = ["output"] if len(wanted) == 1 else [f"output_{number}" for number in range(len(wanted))]
    for output, expected in zip(names, wanted, strict=True):
        assert found[output].shape == expected.shape
        limit = 1e-4 * max(1.0, float(np.abs(expected).max()))
        assert np.abs(found[output] - expected).max() < limit, output


@pytest.mark.parametrize("name", CASES)
def test_the_graph_is_whole_and_every_number_is_kept(name, tmp_path):
    source = GOLDENS / f"{name}.keras"
    report = converted(source, "onnx", tmp_path / "onnx")
    assert report.verdict.passed
    if open_bundle(source, complete=False).tensors.infos:
        same_weights(source, tmp_path / "onnx")
    graph = open_onnx(tmp_path / "onnx" / ONNX_NAME).graph
    recorded = np.load(GOLDENS / f"{name}.npz")
    assert {port.name for port in graph.inputs} == {
        key.removeprefix("in ") for key in recorded if key.startswith("in ")
    }
    for port, key in zip(graph.outputs, sorted(k for k in recorded if k.startswith("out ")), strict=True):
        sizes = zip(port.shape, recorded[key].shape, strict=True)
        assert all(isinstance(stated, str) or stated == size for stated, size in sizes)


def test_the_official_checker_finds_nothing(tmp_path):
    onnx = pytest.importorskip("onnx")
    for name in CASES:
        converted(GOLDENS / f"{name}.keras", "onnx", tmp_path / name)
        onnx.checker.check_model(str(tmp_path / name / ONNX_NAME), full_check=True)


@pytest.mark.parametrize("kind", ["F32", "stored", "INT8"])
def test_keras_becomes_ir(tmp_path, kind, capsys):
    pytest.importorskip("openvino")
    if kind == "INT8":
        pytest.importorskip("nncf")
    report = converted(GOLDENS / "cnn.keras", "openvino", tmp_path / "ir", type=kind)
    assert report.verdict["OpenVINO"].status == "passed"
    assert capsys.readouterr().out == ""  # what is printed is the command's own, as JSON above all
    assert sorted(path.name for path in (tmp_path / "ir").iterdir()) == [
        "fairway.json", "openvino_model.bin", "openvino_model.xml",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "words"),
    [("lambda_layer", "'lambda' is a Lambda, which is not converted"), ("recurrent", "is a LSTM")],
)
def test_code_and_other_layers_are_named_and_refused(tmp_path, name, words):
    with pytest.raises(UnsupportedError, match=words):
        converted(GOLDENS / f"{name}.keras", "onnx", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def changed(tmp_path, change, name="cnn"):
    """An archive with another config.json."""
    path = tmp_path / "changed.keras"
    with zipfile.ZipFile(GOLDENS / f"{name}.keras") as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename == "config.json":
                config = json.loads(data)
                change(config)
                data = json.dumps(config).encode()
            new.writestr(entry.filename, data)
    return path


def custom_class(config):
    config["class_name"] = "MyModel"


def custom_layer(config):
    config["config"]["layers"][2]["registered_name"] = "mine>Conv2D"


def custom_activation(config):
    config["config"]["layers"][2]["config"]["activation"] = {"class_name": "function", "config": "os.system"}


def loop(config):
    config["config"]["layers"][2]["inbound_nodes"] = config["config"]["layers"][5]["inbound_nodes"]


def no_input(config):
    config["config"]["input_layers"] = ["nothing", 0, 0]


def other_weights(config):
    config["config"]["layers"][2]["class_name"] = "Dense"


def masked(config):
    config["config"]["layers"][1]["config"]["mask_zero"] = True


BROKEN = {
    "MyModel": (custom_class, UnsupportedError, "cnn"),
    "mine>Conv2D": (custom_layer, UnsupportedError, "cnn"),
    "activation = ": (custom_activation, UnsupportedError, "cnn"),
    "reads what nobody makes": (loop, FormatError, "cnn"),
    "no input 'nothing'": (no_input, FormatError, "cnn"),
    "Weight 0 of layer": (other_weights, FormatError, "cnn"),
    "mask_zero = True": (masked, UnsupportedError, "text"),
}


@pytest.mark.parametrize("words", BROKEN)
def test_what_does_not_fit_is_one_sentence(tmp_path, words):
    change, error, name = BROKEN[words]
    with pytest.raises(error, match=words):
        converted(changed(tmp_path, change, name), "onnx", tmp_path / "out")


WEIRD = [
    None,
    [],
    {},
    "x",
    -1,
    0,
    10**30,
    True,
    1.5,
    [1],
    [[1, 2]],
    {"class_name": "x"},
    ["a", 0, 0],
    ["a", "b", 3],
]


def places(value, path=()):
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from places(each, (*path, key))


@pytest.mark.parametrize("name", CASES)
def test_a_config_with_anything_in_it_is_a_graph_or_one_sentence(name):
    """Any value of it in any place of another."""
    bundle = open_bundle(GOLDENS / f"{name}.keras", complete=False)
    infos, text, seed = dict(bundle.tensors.infos), json.dumps(bundle.config), random.Random(7)
    paths = [path for path in places(json.loads(text)) if path]
    for _ in range(300):
        config = inner = json.loads(text)
        *outer, last = seed.choice(paths)
        for key in outer:
            inner = inner[key]
        inner[last] = seed.choice(WEIRD)
        try:
            keras_graph(config, infos)
        except FairwayError as error:
            assert len(str(error)) < 500


def test_an_archive_is_known_by_its_entries(tmp_path):
    kind = identify(GOLDENS / "cnn.keras")
    assert (kind.format, kind.words) == ("keras", "a Keras model")
    bundle = open_bundle(GOLDENS / "cnn.keras", complete=False)
    assert (bundle.container, len(bundle.tensors.infos)) == ("keras", 13)


def test_it_says_that_it_answers_no_prompt():
    reason = obstacle(open_bundle(GOLDENS / "cnn.keras", complete=False))
    assert reason.message.endswith("cnn.keras is a Keras model: it answers no prompt.")
    assert "--to onnx" in reason.hint


def test_every_layer_of_the_table_is_in_a_recorded_model():
    """No feature is claimed that a test does not run; what only training does is alike."""
    seen = set()
    for path in GOLDENS.glob("*.keras"):
        with zipfile.ZipFile(path) as archive:
            seen |= set(_classes(json.loads(archive.read("config.json"))))
    later = {"AlphaDropout", "GaussianDropout", "GaussianNoise", "ActivityRegularization", "SpatialDropout2D"}
    assert set(LAYERS) - later <= seen


def _classes(value):
    if isinstance(value, dict):
        yield from [value["class_name"]] if "class_name" in value else []
        for each in value.values():
            yield from _classes(each)
    elif isinstance(value, list):
        for each in value:
            yield from _classes(each)


def test_a_graph_needs_no_file():
    """Shapes and names are enough: no number is read before the conversion runs."""
    bundle = open_bundle(GOLDENS / "text.keras", complete=False)
    graph, names = keras_graph(bundle.config, dict(bundle.tensors.infos))
    assert names[0] == "layers/embedding/vars/0"
    assert [node["op"] for node in graph.nodes][:2] == ["Cast", "Gather"]
    assert io.BytesIO(graph.to_bytes("x", {}, None, "x")).read(1) == b"\x08"
