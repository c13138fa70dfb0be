"""Pickles that would hang, crash or fill the memory without executing anything: each is one sentence."""

import pickle
import struct
import zipfile

import pytest

from fairway.errors import FormatError
from fairway.formats.open import open_bundle
from fairway.formats.torch_archive import MAGIC

TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0"
    b"0X\x03\0\0\0cpuK\x01tQK\0(K\x01t(K\x01t\x89}tR"
)
DEEP, DOUBLED = b")" + b"\x85" * 200_000, b")" + b"2\x86" * 60
"""A tuple in a tuple in a tuple; a tuple of two that are one, so that all of it is 2**60 items."""
MANY = b"(" + b"K\x01" * 500_000 + b"lq\0"
HUGE = struct.pack("<i", 2**31 - 1)

HOSTILE = {
    "a key whose hash ends the stack": b"}" + DEEP + b"K\x01s.",
    "a key whose hash takes for ever": b"}" + DOUBLED + b"K\x01s.",
    "keys in pairs": b"}(" + DOUBLED + b"K\x01u.",
    "a dictionary of such keys": b"(" + DOUBLED + b"K\x01d.",
    "a member of a set": b"\x8f(" + DOUBLED + b"\x90.",
    "a member of a frozen set": b"(" + DOUBLED + b"\x91.",
    "a set made by name": b"cbuiltins\nset\n(" + DOUBLED + b"l\x85R.",
    "an ordered dictionary made by name": b"ccollections\nOrderedDict\n((" + DOUBLED + b"K\x01tl\x85R.",
    "a name that takes for ever to write": DOUBLED + b"q\0h\0\x93.",
    "a coding that takes for ever to write": b"c_codecs\nencode\nX\x01\0\0\0a" + DOUBLED + b"\x86R.",
    "two gigabytes of zeros": b"cbuiltins\nbytes\nJ" + HUGE + b"\x85R.",
    "a thousand copies of half a million": MANY + b"(" + b"ctorch\nSize\nh\0\x85R" * 1000 + b"t.",
    "a shape of half a million": MANY + TENSOR.replace(b"(K\x01t(K\x01t", b"h\0h\0") + b".",
    "a million empty sets": b"(" + b"\x8f" * 700_000 + b"t.",
    "lists in lists": b"]" * 50_000 + b"a" * 49_999 + b".",
    "a tensor at the bottom of tuples": TENSOR + b"\x85" * 3000 + b".",
    "a name of megabytes": b"}X" + struct.pack("<i", 1 << 20) + b"n" * (1 << 20) + TENSOR + b"s.",
    "one tensor under a hundred thousand names": (TENSOR + b"q\0]q\1(" + b"h\0" * 100_001 + b"e0h\1."),
    "the same list without an end": b"(" * 100_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_refused_at_once(name, tmp_path):
    before = (pickle.dumps(each, 2) for each in (MAGIC, 1001, {"little_endian": True}))
    path = tmp_path / "model.pt"
    path.write_bytes(b"".join(before) + HOSTILE[name] + pickle.dumps([], 2))
    with pytest.raises(FormatError, match="Nothing of it was executed") as caught:
        open_bundle(path, complete=False)
    assert len(caught.value.message) < 400
    assert caught.value.hint


def test_a_byte_order_of_gigabytes_is_not_unpacked(tmp_path, monkeypatch):
    """A small zip entry may claim to hold anything: six bytes of it are read."""
    with zipfile.ZipFile(tmp_path / "model.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("archive/data.pkl"), b"}.")
        archive.writestr("archive/byteorder", b"little" + bytes(50_000_000))
    monkeypatch.setattr(zipfile.ZipExtFile, "MIN_READ_SIZE", 4096)
    sizes = []
    read = zipfile.ZipExtFile.read
    monkeypatch.setattr(
        zipfile.ZipExtFile, "read", lambda file, n=-1: (sizes.append((file.name, n)), read(file, n))[1]
    )
    with pytest.raises(FormatError, match="holds no tensors"):
        open_bundle(tmp_path / "model.pt", complete=False)
    assert [size for name, size in sizes if name.endswith("byteorder")] == [6]
