"""OpenVINO's IR: graph and constants as they are written; XML that asks for more is refused."""

import random

import numpy as np
import pytest

from fairway.errors import FairwayError, FormatError
from fairway.formats.open_graph import open_graph
from fairway.formats.openvino_ir import open_openvino

NUMBERS = np.arange(6, dtype=np.float32)
FILE = b"1234" + NUMBERS.tobytes()
CONSTANT = '<data element_type="f32" shape="2,3" offset="4" size="24"/>'
OUTPUT = '<output><port id="{port}" precision="FP32"{names}><dim>-1</dim><dim>3</dim></port></output>'


def ir(constant=CONSTANT, head="", version="11"):
    inputs = '<input><port id="0"><dim>-1</dim><dim>3</dim></port></input>'
    return f"""<?xml version="1.0"?>{head}
<net name="small" version="{version}">
 <layers>
  <layer id="0" name="in" type="Parameter" version="opset1">
   <data element_type="f32" shape="?,3"/>{OUTPUT.format(port=0, names=' names="x"')}</layer>
  <layer id="1" name="w" type="Const" version="opset1">{constant}{OUTPUT.format(port=0, names="")}</layer>
  <layer id="2" name="add" type="Add" version="opset1"><data auto_broadcast="numpy"/>
   <input><port id="0"/><port id="1"/></input>{OUTPUT.format(port=2, names=' names="sum"')}</layer>
  <layer id="3" name="result" type="Result" version="opset1">{inputs}</layer>
 </layers>
 <edges>
  <edge from-layer="0" from-port="0" to-layer="2" to-port="0"/>
  <edge from-layer="1" from-port="0" to-layer="2" to-port="1"/>
  <edge from-layer="2" from-port="2" to-layer="3" to-port="0"/>
 </edges>
 <rt_info><Runtime_version value="2025.1"/></rt_info>
</net>"""


@pytest.fixture
def write(tmp_path):
    def write(text, numbers=FILE):
        (tmp_path / "model.xml").write_bytes(text.encode() if isinstance(text, str) else text)
        if numbers is not None:
            (tmp_path / "model.bin").write_bytes(numbers)
        return tmp_path / "model.xml"

    return write


def test_a_model_is_read_as_it_was_written(write):
    found = open_openvino(write(ir()))
    assert (found.graph.name, found.producer, found.operator_sets) == ("small", "OpenVINO 2025.1", {"": 1})
    [x], [y], [add] = found.graph.inputs, found.graph.outputs, found.graph.nodes
    assert (x.name, x.type, x.shape) == ("x", "F32", ("?", 3))
    assert (y.name, y.type, y.shape) == ("sum", "F32", ("?", 3))
    assert (add.op, add.inputs, add.outputs) == ("Add", ("x", "w"), ("sum",))
    np.testing.assert_array_equal(found.tensors.read("w").values, NUMBERS.reshape(2, 3))
    assert [source.name for source in found.sources] == ["model.xml", "model.bin"]


def test_the_file_is_known_by_its_content(write):
    assert open_graph(write(ir())).container == "openvino"
    assert open_graph(write("<?xml version='1.0'?><html/>")) is None


@pytest.mark.parametrize(
    ("constant", "problem"),
    [
        (CONSTANT.replace('"4"', '"5"'), "at bytes 5 to 29 of model.bin, which has 28"),
        (CONSTANT.replace('"4"', f'"{10**17}"'), "which has 28"),
        (CONSTANT.replace('"4"', '"-4"'), "size or place '-4'"),
        (CONSTANT.replace('"24"', '"23"'), r"23 bytes; f32 \[2, 3\] takes 24"),
        (CONSTANT.replace("2,3", "2,x"), "size or place 'x'"),
        (CONSTANT.replace("f32", "f99"), "unknown type 'f99'"),
        ("", "size or place ''"),
    ],
)
def test_constants_lie_inside_their_file(write, constant, problem):
    with pytest.raises(FormatError, match=problem):
        open_openvino(write(ir(constant)))


def test_a_missing_file_of_numbers_is_named(write):
    with pytest.raises(FormatError, match=r"keeps its numbers in model\.bin, which is missing"):
        open_openvino(write(ir(), numbers=None))


LAUGHS = "<!DOCTYPE net [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>]>"
BROKEN = {
    "entities": ir(head=LAUGHS),
    "a file named by an entity": ir(head='<!DOCTYPE net [<!ENTITY a SYSTEM "file:///etc/passwd">]>'),
    "a document type elsewhere": ir(head='<!DOCTYPE net SYSTEM "http://127.0.0.1/x.dtd">'),
    "an instruction": ir(head="<?php x?>"),
    "cut short": ir()[:-20],
    "two roots": ir() + "<net/>",
    "another version": ir(version="7"),
    "another root": "<?xml version='1.0'?><html/>",
    "deep": "<?xml version='1.0'?>" + "<a>" * 5000,
    "no text": b"<?xml version='1.0'?>\xff\xfe\xfa",
    "an odd encoding": b"<?xml version='1.0' encoding='klingon'?><net/>",
    "empty": b"",
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_end_in_one_sentence(write, case):
    with pytest.raises(FormatError) as caught:
        open_openvino(write(BROKEN[case]))
    assert "model.xml" in caught.value.message
    assert "\n" not in str(caught.value)


def test_damaged_files_open_or_are_refused(write):
    dice, whole = random.Random(3), ir().encode()
    outcomes = set()
    for _ in range(1500):
        data = bytearray(whole)
        for _ in range(dice.choice((1, 2, 5))):
            data[dice.randrange(len(data))] = dice.choice(b'<>"/= 0123456789-x\x00\xff')
        try:
            found = open_openvino(write(bytes(data)))
            for name in found.tensors.infos:
                found.tensors.stored(name)
            outcomes.add("opened")
        except FairwayError as error:
            assert "\n" not in str(error)
            outcomes.add("refused")
    assert outcomes == {"opened", "refused"}


@pytest.mark.parametrize(("kind", "types"), [
    ("FP32", {"F32": 42}), ("FP16", {"F16": 42}), ("FP16-INT8", {"I8": 9, "F32": 66, "F16": 33, "I64": 1}),
])  # fmt: skip
def test_the_landmarks_model_in_three_types(shared, kind, types):
    folder = shared / "models" / "landmarks-ir" / kind
    found = open_openvino(folder / "landmarks-regression-retail-0009.xml")
    assert {name: each.num_tensors for name, each in found.types.items()} == types
    assert found.graph.inputs[0].shape == (1, 3, 48, 48)
    assert found.graph.outputs[0].shape == (1, 10, 1, 1)
    assert found.operators["Convolution"] == 8
