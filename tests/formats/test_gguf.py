"""GGUF headers: what is written is read, what the reference writes is read, lies are refused."""

import struct

import numpy as np
import pytest
from format_models import numbers
from gguf_layout import gguf_layout, replaced, with_key
from hypothesis import given, settings
from hypothesis import strategies as st

from fairway.errors import FormatError, InternalError, UnsupportedError
from fairway.formats.gguf import open_gguf
from fairway.formats.gguf_writer import GgufData, Number, gguf_data, write_gguf

METADATA = {
    "general.architecture": "llama",
    "a.flag": True,
    "a.small": 5,
    "a.negative": -5,
    "a.large": 1 << 40,
    "a.byte": Number("UINT8", 200),
    "a.half": 0.5,
    "a.double": Number("FLOAT64", 0.1),
    "a.text": "Käse \u2603",
    "a.texts": ["", "x", "\u2603"],
    "a.numbers": [1, -2, 3],
    "a.wide": [1 << 40, 2],
    "a.floats": [0.5, -1.0],
    "a.flags": [True, False],
    "a.empty": [],
    "a.nested": [[1, 2], [3]],
}
PLAIN = METADATA | {"a.byte": 200, "a.double": 0.1}


def test_every_value_type_survives(tmp_path):
    write_gguf(tmp_path / "m.gguf", METADATA, {})
    assert open_gguf(tmp_path / "m.gguf").metadata == PLAIN


@pytest.mark.parametrize("alignment", [1, 8, 32, 4096])
def test_tensors_survive_at_any_alignment(tmp_path, alignment):
    f32, f16 = numbers(3, 5), numbers(7).astype(np.float16)
    blocks = np.random.default_rng(0).integers(0, 256, (4, 34), dtype=np.uint8)
    tensors = {
        "f32": gguf_data("F32", (3, 5), f32),
        "f16": gguf_data("F16", (7,), f16),
        "q8": gguf_data("Q8_0", (4, 32), blocks),
        "scalar": gguf_data("F32", (), np.ones((), np.float32)),
    }
    write_gguf(tmp_path / "m.gguf", {"general.architecture": "llama"}, tensors, alignment)
    file = open_gguf(tmp_path / "m.gguf")
    assert {name: tensor.info.shape for name, tensor in file.tensors.items()} == {
        "f32": (3, 5), "f16": (7,), "q8": (4, 32), "scalar": (),
    }  # fmt: skip
    assert all(tensor.begin % alignment == 0 for tensor in file.tensors.values())
    assert file.raw(file.tensors["f32"]).tobytes() == f32.tobytes()
    assert file.raw(file.tensors["q8"]).tobytes() == blocks.tobytes()
    assert file.tensors["q8"].info.type == "Q8_0"


@given(
    st.dictionaries(
        st.text(max_size=10),
        st.one_of(
            st.booleans(),
            st.integers(-(1 << 31), (1 << 32) - 1),
            st.text(),
            st.lists(st.text()),
            st.lists(st.booleans()),
        ),
        max_size=8,
    )
)
@settings(max_examples=60, deadline=None)
def test_any_metadata_survives(tmp_path_factory, metadata):
    metadata.pop("general.alignment", None)
    path = tmp_path_factory.mktemp("any") / "m.gguf"
    write_gguf(path, metadata, {})
    assert open_gguf(path).metadata == metadata


def test_files_of_the_reference_package_are_read_and_ours_by_it(tmp_path):
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(tmp_path / "theirs.gguf", "llama")
    writer.add_block_count(3)
    writer.add_token_list(["a", "b"])
    writer.add_tensor("x.weight", numbers(2, 3))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    file = open_gguf(tmp_path / "theirs.gguf")
    assert file.metadata["llama.block_count"] == 3
    assert file.metadata["tokenizer.ggml.tokens"] == ["a", "b"]
    assert file.raw(file.tensors["x.weight"]).tobytes() == numbers(2, 3).tobytes()
    write_gguf(tmp_path / "ours.gguf", METADATA, {"t": gguf_data("F32", (2, 3), numbers(2, 3))})
    reader = gguf.GGUFReader(tmp_path / "ours.gguf")
    assert reader.get_field("a.text").contents() == "Käse \u2603"
    np.testing.assert_array_equal(reader.tensors[0].data, numbers(2, 3))


def broken(tmp_path, data):
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("field", "raw", "sentence"),
    [
        ("magic", b"GGML", "does not begin with GGUF"),
        ("tensor count", struct.pack("<Q", 1 << 60), "claims 1152921504606846976 tensors"),
        ("type of some.flag", struct.pack("<I", 13), "unknown type 13"),
        ("value of some.flag", b"\x02", "a boolean with the value 2"),
        ("key some.long text", b"some.flag", "has the key 'some.flag' twice"),
        ("key some.flag length", struct.pack("<Q", 1 << 50), "has a string of 1125899906842624 bytes"),
        ("key some.flag text", b"\xffome.flag", "not UTF-8"),
        (
            "item count of tokenizer.ggml.tokens",
            struct.pack("<Q", 1 << 50),
            "an array of 1125899906842624 values",
        ),
        ("dimensions of token_embd.weight", struct.pack("<I", 9), "9 dimensions, at most 4"),
        ("size 0 of token_embd.weight", struct.pack("<Q", 0), r"the shape .4, 0."),
        ("size 0 of blk.0.attn_q.weight", struct.pack("<Q", 40), "rows of 40, not whole blocks of 32"),
        ("offset of blk.0.attn_q.weight", struct.pack("<Q", 5), "off its alignment of 32"),
        ("offset of blk.0.attn_q.weight", struct.pack("<Q", 0), "shares bytes with another"),
        ("offset of output_norm.weight", struct.pack("<Q", 1 << 20), "it is cut short"),
    ],
)
def test_lies_are_refused_in_one_sentence(tmp_path, field, raw, sentence):
    path = broken(tmp_path, replaced(gguf_layout(), field, raw))
    with pytest.raises(FormatError, match=sentence) as caught:
        open_gguf(path)
    assert "m.gguf" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("field", "raw", "sentence"),
    [
        ("version", struct.pack("<I", 1), "version 1, which no current program reads"),
        ("version", struct.pack("<I", 4), "version 4; versions 2 and 3 can be read"),
        ("version", struct.pack(">I", 3), "big-endian"),
        ("type of token_embd.weight", struct.pack("<I", 4), "Q4_2, retired from current GGUF"),
        ("type of token_embd.weight", struct.pack("<I", 99), "type 99, not known to current GGUF"),
    ],
)
def test_what_is_well_formed_but_foreign_is_named(tmp_path, field, raw, sentence):
    with pytest.raises(UnsupportedError, match=sentence):
        open_gguf(broken(tmp_path, replaced(gguf_layout(), field, raw)))


@pytest.mark.parametrize("alignment", [0, 3, 48])
def test_alignment_must_be_a_power_of_two(tmp_path, alignment):
    data = with_key(gguf_layout(), "general.alignment", 4, struct.pack("<I", alignment))
    with pytest.raises(FormatError, match="not a power of two"):
        open_gguf(broken(tmp_path, data))


@pytest.mark.parametrize("version", [2, 3])
def test_both_versions_are_read(tmp_path, version):
    file = open_gguf(broken(tmp_path, bytes(gguf_layout(version).data)))
    assert file.version == version
    assert len(file.tensors) == 6


def test_a_file_cut_short_while_open_is_noticed(tmp_path):
    path = broken(tmp_path, bytes(gguf_layout().data))
    file = open_gguf(path)
    with path.open("r+b") as handle:
        handle.truncate(1000)
    with pytest.raises(FormatError, match="cut short"):
        file.raw(file.tensors["token_embd.weight"])


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    with pytest.raises(InternalError, match="t gave 4 bytes, its shape needs 8"):
        write_gguf(tmp_path / "m.gguf", {}, {"t": GgufData("F32", (2,), lambda: [b"1234"])})
    with pytest.raises(InternalError, match="one type only"):
        write_gguf(tmp_path / "m.gguf", {"a": [1, "b"]}, {})
    assert list(tmp_path.iterdir()) == []
