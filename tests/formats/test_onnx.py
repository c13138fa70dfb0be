"""ONNX files: read whole and exactly; what is broken ends in one sentence, soon and in little memory."""

import random
import struct
import tracemalloc

import numpy as np
import pytest
from onnx_bytes import external, field, graph, model, node, number, port, tensor

from fairway.errors import FairwayError, FormatError, UnsupportedError
from fairway.formats.onnx import open_onnx
from fairway.formats.onnx_schema import SCHEMA
from fairway.formats.protobuf import Reader, encode
from fairway.formats.source import Source

FLOATS = np.arange(6, dtype=np.float32)


def sample():
    attributes = [field(1, "axis") + field(3, -1), field(1, "pads") + field(8, number(1) + number(2))]
    nodes = [
        node("MatMul", ["x", "w"], ["y"], name="first"),
        node("Concat", ["y", "list"], ["z"], *attributes, name="second"),
        node("Odd", ["z"], ["out"], domain="mine", name="third"),
    ]
    tensors = [
        tensor("w", (2, 3), 1, field(9, FLOATS.tobytes())),
        tensor("list", (3,), 7, field(7, number(-5) + number(300) + number(0))),
        tensor("halves", (2,), 10, field(5, number(0x3C00) + number(0xC000))),
        tensor("more", (2,), 1, field(4, struct.pack("<2f", 1.5, -2))),
    ]
    return graph(nodes, tensors, [port("x", 1, "batch", 2), port("w", 1, 2, 3)], [port("out", 1, "batch", 6)])


@pytest.fixture
def write(tmp_path):
    def write(inside, name="model.onnx", whole=False):
        (tmp_path / name).write_bytes(inside if whole else model(inside))
        return tmp_path / name

    return write


def test_a_model_is_read_as_it_was_written(write):
    found = open_onnx(write(sample()))
    assert found.producer == "maker 1.0"
    assert found.operator_sets == {"": 17}
    assert found.operators == {"Concat": 1, "MatMul": 1, "mine.Odd": 1}
    [x] = found.graph.inputs
    assert (x.name, x.type, x.shape) == ("x", "F32", ("batch", 2))
    assert found.graph.outputs[0].shape == ("batch", 6)
    assert found.graph.nodes[1].attributes == {"axis": "-1", "pads": "[1, 2]"}
    assert found.graph.nodes[1].inputs == ("y", "list")
    assert found.num_parameters == 10


def test_numbers_are_exact_however_they_are_stored(write):
    tensors = open_onnx(write(sample())).tensors
    np.testing.assert_array_equal(tensors.read("w").values, FLOATS.reshape(2, 3))
    np.testing.assert_array_equal(tensors.stored("list").view(np.int64), [-5, 300, 0])
    np.testing.assert_array_equal(tensors.read("halves").values, np.array([1, -2], np.float16))
    np.testing.assert_array_equal(tensors.read("more").values, [1.5, -2])
    with pytest.raises(UnsupportedError, match="is I64"):
        tensors.read("list")


def test_numbers_beside_the_model(write, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.bin").write_bytes(b"1234" + FLOATS.tobytes())
    beside = tensor("w", (6,), 1, external("data/a.bin", offset=4, length=24))
    found = open_onnx(write(graph(tensors=[beside])))
    np.testing.assert_array_equal(found.tensors.read("w").values, FLOATS)
    assert [source.name for source in found.sources] == ["model.onnx", "a.bin"]


@pytest.mark.parametrize(
    "location",
    ["../a.bin", "/etc/passwd", "x/../../a.bin", "", "C:a.bin", "a\\b", "a\0b", "a" * 300, "é" * 200],
)
def test_a_file_elsewhere_is_never_opened(write, tmp_path, location):
    (tmp_path.parent / "a.bin").write_bytes(bytes(64))
    path = write(graph(tensors=[tensor("w", (6,), 1, external(location))]))
    with pytest.raises(FormatError, match="no plain file beside it"):
        open_onnx(path)


@pytest.mark.parametrize("is_folder", [False, True])
def test_a_link_out_of_the_folder_is_refused(write, tmp_path, is_folder):
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "a.bin").write_bytes(bytes(64))
    (tmp_path / "link").symlink_to(outside if is_folder else outside / "a.bin")
    location = "link/a.bin" if is_folder else "link"
    with pytest.raises(FormatError, match="a link to another folder"):
        open_onnx(write(graph(tensors=[tensor("w", (6,), 1, external(location))])))


def test_links_of_a_hub_cache_are_followed(write, tmp_path):
    """There the model and its numbers are links to files that lie side by side."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "blobs" / "1").write_bytes(model(graph(tensors=[tensor("w", (6,), 1, external("a.bin"))])))
    (tmp_path / "blobs" / "2").write_bytes(FLOATS.tobytes())
    for name, blob in (("model.onnx", "1"), ("a.bin", "2")):
        (tmp_path / "snapshot" / name).symlink_to(f"../blobs/{blob}")
    found = open_onnx(tmp_path / "snapshot" / "model.onnx")
    np.testing.assert_array_equal(found.tensors.read("w").values, FLOATS)


def test_a_name_with_a_line_break_stays_in_one_line(write):
    with pytest.raises(FormatError) as caught:
        open_onnx(write(graph(tensors=[tensor("w", (6,), 1, external("a\nb.bin"))])))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("places", "problem"),
    [
        ({"offset": 60}, "ends at byte 84 of a.bin, which has 64"),
        ({"offset": 1 << 62}, "ends at byte"),
        ({"offset": -1}, "has the offset or length '-1'"),
        ({"length": 23}, "24 bytes, but takes 23 of a.bin"),
        ({"offset": "1e3"}, "has the offset or length '1e3'"),
    ],
)
def test_places_beside_the_model_are_checked(write, tmp_path, places, problem):
    (tmp_path / "a.bin").write_bytes(bytes(64))
    with pytest.raises(FormatError, match=problem):
        open_onnx(write(graph(tensors=[tensor("w", (6,), 1, external("a.bin", **places))])))


def test_what_is_missing_beside_the_model_is_named(write):
    with pytest.raises(FormatError, match=r"keeps numbers in 'gone\.bin', which is missing"):
        open_onnx(write(graph(tensors=[tensor("w", (6,), 1, external("gone.bin"))])))


RAW = field(9, bytes(24))
BROKEN_TENSORS = {
    "raw too short": (tensor("w", (7,), 1, RAW), "28 bytes, but takes 24"),
    "raw too long": (tensor("w", (5,), 1, RAW), "20 bytes, but takes 24"),
    "negative size": (tensor("w", (-6,), 1, RAW), "has the shape"),
    "huge shape": (tensor("w", (1 << 40, 1 << 40), 1, RAW), "has the shape"),
    "many dimensions": (tensor("w", (1,) * 65, 1, RAW), "has the shape"),
    "unknown type": (tensor("w", (6,), 99, RAW), "unknown type 99"),
    "twice": (tensor("w", (6,), 1, RAW, field(4, bytes(24))), "but takes 24"),
    "list of another type": (tensor("w", (6,), 1, field(10, bytes(48))), "has double_data"),
    "list too short": (tensor("w", (6,), 1, field(4, bytes(20))), "float_data takes 20"),
    "no numbers": (tensor("w", (6,), 7), "int64_data takes 0"),
    "strings": (tensor("w", (2,), 8, field(6, b"one")), "has 1 strings, and a shape of 2"),
    "segment": (tensor("w", (6,), 1, RAW, field(3, b"")), "cut into segments"),
}


@pytest.mark.parametrize("case", BROKEN_TENSORS)
def test_tensors_that_do_not_fit_together(write, case):
    raw, problem = BROKEN_TENSORS[case]
    with pytest.raises(FormatError, match=problem):
        open_onnx(write(graph(tensors=[raw])))


def test_a_list_of_too_few_numbers_is_met_on_reading(write):
    found = open_onnx(write(graph(tensors=[tensor("w", (2,), 7, field(7, number(1 << 40)))])))
    with pytest.raises(FormatError, match="holds 1 numbers"):
        found.tensors.stored("w")


BROKEN_FILES = {
    "empty": b"",
    "text": b"hello, this is no model",
    "only a version": field(1, 8),
    "only a graph": field(7, b""),
    "cut in a length": model(graph())[:-3],
    "length beyond the file": b"\x3a" + number(1 << 40) + b"x",
    "length of 64 bits": b"\x3a" + b"\xff" * 9 + b"\x01",
    "endless number": b"\x08" + b"\xff" * 100,
    "ends inside a number": b"\x08\xff",
    "a group": field(1, 8) + b"\x3b" + b"\x3c",
    "another kind of field": field(1, b"8") + field(7, graph()),
    "a graph that is a number": field(1, 8) + field(7, 5),
    "a name that is no text": model(graph([field(4, b"\xff\xfe")])),
    "a name without end": model(graph([field(4, b"x" * (2 << 20))])),
    "a node without an operator": model(graph([field(3, "a")])),
    "the same tensor twice": model(graph(tensors=[tensor("w", (6,), 1, RAW)] * 2)),
    "floats that are no fours": model(graph([node("A", [], [], field(1, "f") + field(7, bytes(5)))])),
    "many nodes": model(graph([field(4, "A")] * 200_001)),
    "many numbers": model(graph([node("A", [], [], field(1, "i") + field(8, bytes(1_000_001)))])),
    "many empty fields": model(b"\x0a\x00" * 1_500_000),
    "many empty dimensions": model(
        field(11, field(1, "x") + field(2, field(1, field(2, b"\x0a\x00" * 2_000_000))))
    ),
}


def nested(depth):
    inside = graph()
    for _ in range(depth):
        inside = graph([node("If", [], [], field(1, "then") + field(6, inside))])
    return model(inside)


BROKEN_FILES["deep"] = nested(500)


@pytest.mark.parametrize("case", BROKEN_FILES)
def test_broken_files_end_in_one_sentence(write, case):
    path = write(BROKEN_FILES[case], whole=True)
    with pytest.raises(FormatError) as caught:
        open_onnx(path)
    assert "model.onnx" in caught.value.message
    assert "\n" not in str(caught.value)


def test_many_nodes_take_little_memory(write):
    path = write(BROKEN_FILES["many nodes"], whole=True)
    tracemalloc.start()
    with pytest.raises(FormatError, match="more than 200,000 nodes"):
        open_onnx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000_000


def test_a_name_that_every_tensor_of_a_branch_bears_stays_short(write):
    """A megabyte of name around ten thousand tensors would be ten gigabytes of names."""
    weights = [tensor(str(number), (1,), 1, field(9, bytes(4))) for number in range(10_000)]
    inside = field(1, "then_branch") + field(6, graph(tensors=weights))
    path = write(graph([node("If", ["c"], ["y"], inside, name="n" * 1_000_000)]))
    tracemalloc.start()
    with pytest.raises(FormatError, match="names too long"):
        open_onnx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000_000


def test_branches_are_looked_into(write):
    inner = graph([node("Relu", ["w"], ["r"])], [tensor("w", (6,), 1, field(9, FLOATS.tobytes()))])
    branches = [field(1, name) + field(6, inner) for name in ("then_branch", "else_branch")]
    found = open_onnx(write(graph([node("If", ["c"], ["y"], *branches, name="choice")])))
    assert found.operators == {"Relu": 2, "If": 1}
    assert set(found.tensors.infos) == {"choice/then_branch/w", "choice/else_branch/w"}


def damaged(whole, count):
    dice = random.Random(7)
    for _ in range(count):
        data = bytearray(whole)
        for _ in range(dice.choice((1, 1, 2, 6))):
            data[dice.randrange(len(data))] = dice.choice((0, 1, 127, 128, 255, dice.randrange(256)))
        yield bytes(data if dice.random() < 0.7 else data[: dice.randrange(len(data))])


def test_two_thousand_damaged_files_open_or_are_refused(tmp_path):
    path, outcomes = tmp_path / "model.onnx", set()
    for data in damaged(model(sample()), 2000):
        path.write_bytes(data)
        try:
            found = open_onnx(path)
            for name in found.tensors.infos:
                found.tensors.stored(name)
            outcomes.add("opened")
        except FairwayError as error:
            assert "\n" not in str(error)
            outcomes.add("refused")
    assert outcomes == {"opened", "refused"}


def test_the_header_of_a_large_file_is_read_without_its_weights(tmp_path):
    """A gigabyte of weights inside the file, as a hole on the disk."""
    size = 1 << 30
    head = b"".join([field(1, size // 4), field(2, 1), field(8, "w")]) + b"\x4a" + number(size)
    inside = b"\x2a" + number(len(head) + size) + head
    start = field(1, 8) + b"\x3a" + number(len(inside) + size) + inside
    with (tmp_path / "large.onnx").open("wb") as file:
        file.write(start)
        file.truncate(len(start) + size)
    found = open_onnx(tmp_path / "large.onnx")
    assert found.tensors.infos["w"].num_bytes == size


def test_what_is_encoded_is_read_back(tmp_path):
    message = {
        "ir_version": 8,
        "producer_name": "fairway",
        "opsets": [{"domain": "", "version": 17}],
        "graph": {
            "name": "g",
            "nodes": [
                {"op": "Add", "inputs": ["a", "b"], "attributes": [{"name": "n", "ints": [-1, 2, 300]}]}
            ],
            "initializers": [{"name": "a", "dims": [2], "data_type": 1, "raw_data": bytes(8)}],
        },
    }
    path = tmp_path / "model.onnx"
    path.write_bytes(encode(SCHEMA, "Model", message))
    back = Reader(Source(path), SCHEMA).message("Model", (0, path.stat().st_size))
    begin, end = back["graph"]["initializers"][0].pop("raw_data")
    assert path.read_bytes()[begin:end] == message["graph"]["initializers"][0].pop("raw_data")
    assert back == message


EXPECTED = {
    "mnist/opt-mnist.onnx": (8, 7, 5_994),
    "magika/model.onnx": (95, 36, 784_223),
    "silero-vad/silero_vad_16k_op15.onnx": (350, 177, 309_636),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_real_models(shared, name):
    found = open_onnx(shared / "models" / name)
    assert (found.num_nodes, len(found.tensors.infos), found.num_parameters) == EXPECTED[name]
    for tensor_name, info in found.tensors.infos.items():
        assert found.tensors.stored(tensor_name).size == info.num_bytes


@pytest.mark.parametrize("name", EXPECTED)
def test_real_models_are_what_the_official_package_reads(shared, name):
    onnx = pytest.importorskip("onnx")
    theirs = onnx.load(shared / "models" / name)
    ours = open_onnx(shared / "models" / name)
    for each in theirs.graph.initializer:
        expected = onnx.numpy_helper.to_array(each)
        assert ours.tensors.infos[each.name].shape == expected.shape
        assert ours.tensors.stored(each.name).tobytes() == expected.tobytes()
    assert [node.op_type for node in theirs.graph.node] == [node.op for node in ours.graph.nodes]
