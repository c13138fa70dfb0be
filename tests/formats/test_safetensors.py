"""Safetensors: what is written is read, what the official package writes is read, lies are refused."""

import json

import numpy as np
import pytest
from format_models import numbers
from hypothesis import given, settings
from hypothesis import strategies as st

from fairway.errors import FormatError, InternalError, ModelNotFound, UnsupportedError
from fairway.formats.safetensors import BITS, open_safetensors
from fairway.formats.safetensors_writer import TensorData, tensor_data, write_safetensors
from fairway.tensors import DenseTensor


def raw_file(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_round_trip_of_the_types_that_run(tmp_path):
    tensors = {
        "f32": numbers(3, 5),
        "f16": numbers(7).astype(np.float16),
        "scalar": np.float32(3).reshape(()),
        "empty": np.empty((0, 4), np.float32),
        "bf16": DenseTensor("bf16", np.array([[0x3F80, 0xBF80]], np.uint16)),
    }
    path = tmp_path / "m.safetensors"
    write_safetensors(path, {name: tensor_data(value) for name, value in tensors.items()}, {"made": "here"})
    file = open_safetensors(path)
    assert file.metadata == {"made": "here"}
    assert sorted(file.infos) == sorted(tensors)
    for name, value in tensors.items():
        expected = (
            value
            if isinstance(value, DenseTensor)
            else DenseTensor(name[:3] if name[0] == "f" else "f32", value)
        )
        read = file.read(name)
        assert read.type == expected.type
        np.testing.assert_array_equal(read.values, expected.values)
        assert file.infos[name].shape == read.shape
        assert file.infos[name].num_bytes == expected.values.nbytes


def test_tensors_are_views_of_the_file_and_aligned(tmp_path):
    path = tmp_path / "m.safetensors"
    odd = np.arange(3, dtype=np.uint8)
    write_safetensors(path, {"a": tensor_data(odd), "b": tensor_data(numbers(4)), "c": tensor_data(odd)})
    values = open_safetensors(path).read("b").values
    assert values.flags.aligned
    assert not values.flags.owndata
    assert not values.flags.writeable


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=20).filter(lambda name: name != "__metadata__"),
        st.tuples(
            st.sampled_from(["float32", "float16", "int64", "bool"]), st.lists(st.integers(0, 4), max_size=3)
        ),
        max_size=5,
    )
)
@settings(max_examples=60, deadline=None)
def test_any_names_and_shapes_survive(tmp_path_factory, tensors):
    path = tmp_path_factory.mktemp("any") / "m.safetensors"
    arrays = {name: np.ones(shape, dtype) for name, (dtype, shape) in tensors.items()}
    write_safetensors(path, {name: tensor_data(value) for name, value in arrays.items()})
    infos = open_safetensors(path).infos
    assert {name: info.shape for name, info in infos.items()} == {name: a.shape for name, a in arrays.items()}


def test_files_of_the_official_package_are_read_and_ours_by_it(tmp_path):
    official = pytest.importorskip("safetensors.numpy")
    arrays = {"a": numbers(3, 4), "b": numbers(5).astype(np.float16), "n": np.arange(3)}
    official.save_file(arrays, tmp_path / "theirs.safetensors", {"format": "np"})
    file = open_safetensors(tmp_path / "theirs.safetensors")
    np.testing.assert_array_equal(file.read("a").values, arrays["a"])
    np.testing.assert_array_equal(file.read("b").values, arrays["b"])
    write_safetensors(tmp_path / "ours.safetensors", {name: tensor_data(a) for name, a in arrays.items()})
    for name, value in official.load_file(tmp_path / "ours.safetensors").items():
        np.testing.assert_array_equal(value, arrays[name])


@pytest.mark.parametrize("dtype", sorted(BITS))
def test_every_type_is_listed_and_three_can_be_read(tmp_path, dtype):
    size = BITS[dtype] * 8 // 8
    header = {"t": {"dtype": dtype, "shape": [8], "data_offsets": [0, size]}}
    file = open_safetensors(raw_file(tmp_path / "m.safetensors", header, bytes(size)))
    assert (file.infos["t"].type, file.infos["t"].num_bytes) == (dtype, size)
    if dtype in ("F32", "F16", "BF16"):
        assert file.read("t").shape == (8,)
    else:
        with pytest.raises(UnsupportedError, match=rf"Tensor 't' of .* is {dtype}, which cannot be run"):
            file.read("t")


@pytest.mark.parametrize(
    ("header", "data", "sentence"),
    [
        (b"{", b"", "is not valid JSON"),
        (b"[]", b"", "holds a JSON list, not an object"),
        (b"\xff{}", b"", "is not UTF-8 at byte 0"),
        (b'{"a":' * 3000, b"", "is nested too deeply|is not valid JSON"),
        (b'{"a": 1, "a": 2}', b"", "the key 'a' appears twice"),
        ({"a": 5}, b"", "needs exactly dtype, shape and data_offsets"),
        (
            {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 8]}},
            bytes(8),
            "is F32 .1., 4 bytes, but takes 8",
        ),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, bytes(4), "outside the file"),
        ({"a": {"dtype": "F99", "shape": [2], "data_offsets": [0, 8]}}, bytes(8), "unknown dtype 'F99'"),
        (
            {"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}},
            bytes(8),
            "not short lists of sizes",
        ),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, bytes(8), "leaves a gap before it"),
        (
            {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}},
            bytes(8),
            "4 bytes that belong to no tensor",
        ),
        ({"__metadata__": {"a": 1}}, b"", "not a table of strings"),
    ],
)
def test_lies_are_refused_in_one_sentence(tmp_path, header, data, sentence):
    path = raw_file(tmp_path / "m.safetensors", header, data)
    with pytest.raises(FormatError, match=sentence) as caught:
        open_safetensors(path)
    assert "m.safetensors" in caught.value.message
    assert caught.value.hint


def test_overlapping_tensors_are_refused(tmp_path):
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    path = raw_file(tmp_path / "m.safetensors", {"a": entry, "b": entry}, bytes(4))
    with pytest.raises(FormatError, match=r"Tensor 'b' in .* overlaps the tensor before it"):
        open_safetensors(path)


def test_a_file_cut_short_says_what_is_missing(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes((1000).to_bytes(8, "little") + b"{}")
    with pytest.raises(FormatError, match="claims a header of 1000 bytes but has only 2"):
        open_safetensors(path)


def test_a_file_cut_short_while_open_is_noticed(tmp_path):
    path = tmp_path / "m.safetensors"
    write_safetensors(path, {"a": tensor_data(numbers(4096))})
    file = open_safetensors(path)
    with path.open("r+b") as handle:
        handle.truncate(100)
    with pytest.raises(FormatError, match="cut short"):
        file.read("a")


def test_unknown_tensor_and_missing_file(tmp_path):
    path = tmp_path / "m.safetensors"
    write_safetensors(path, {"a": tensor_data(numbers(4))})
    with pytest.raises(FormatError, match="has no tensor 'b'"):
        open_safetensors(path).read("b")
    with pytest.raises(ModelNotFound, match="There is no file"):
        open_safetensors(tmp_path / "absent.safetensors")


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    def broken():
        yield b"1234"
        raise RuntimeError("the source went away")

    path = tmp_path / "m.safetensors"
    path.write_bytes(b"before")
    with pytest.raises(RuntimeError):
        write_safetensors(path, {"a": TensorData("F32", (2,), broken)})
    with pytest.raises(InternalError, match="a gave 4 bytes, its shape needs 8"):
        write_safetensors(path, {"a": TensorData("F32", (2,), lambda: [b"1234"])})
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
