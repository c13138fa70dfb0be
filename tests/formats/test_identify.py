"""What a stranger's file is, told from its bytes; and proof that nothing in it ever runs."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fairway.errors import FairwayError, FormatError, UnsupportedError
from fairway.formats.identify import identify
from fairway.formats.open import open_bundle


class Trap:
    """Unpickling this writes a file: the proof that somebody did."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def zipped(**files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "."), data)
    return buffer.getvalue()


FILES = {
    "npy": (npy(np.arange(3)), "a NumPy array (.npy)"),
    "npy of objects": (
        npy(np.array([{}], dtype=object)),
        "a NumPy array of objects (.npy), which holds a pickle",
    ),
    "zip of pickle": (
        zipped(archive__pkl=b"x", other=b""),
        "a zip archive of pickles (PyTorch saves models so)",
    ),
    "npz": (zipped(a__npy=b"", b__npy=b""), "a zip archive of NumPy arrays (.npz)"),
    "zip": (zipped(a__txt=b""), "a zip archive"),
    "damaged zip": (b"PK\x03\x04 and nothing more", "a damaged zip archive"),
    "onnx": (b"\x08\x07\x12\x04onnx" + bytes(50), "an ONNX model"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(50), "an HDF5 file (Keras and others)"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer, not the model itself"),
    "xml": (b"<?xml version='1.0'?>", "an XML file (OpenVINO describes models so)"),
    "old ggml": (b"tjgg" + bytes(20), "a ggml file from before GGUF"),
    "text": (b"Once upon a time", "a text file"),
    "text that ends inside a character": (b"x" * 1023 + "é".encode(), "a text file"),
    "zeros": (bytes(100), "a file that begins with nothing but zeros"),
    "binary": (bytes(range(1, 200)) + bytes(9), "a binary file of no known kind"),
    "nothing": (b"", "an empty file"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_are_named_and_refused(tmp_path, name):
    data, words = FILES[name]
    path = tmp_path / "some.file"
    path.write_bytes(data)
    assert identify(path).words == words
    with pytest.raises((UnsupportedError, FormatError)) as caught:
        open_bundle(path)
    assert words in caught.value.message
    assert "Nothing of it was executed." in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", ["model.bin", "model.safetensors", "model.gguf", "model"])
def test_pickles_are_taken_apart_but_never_run(tmp_path, protocol, name):
    path, target = tmp_path / name, tmp_path / "trapped"
    path.write_bytes(pickle.dumps(Trap(target), protocol))
    kind = identify(path)
    assert kind.format == "pickle"
    assert "touch" in kind.words or "getattr" in kind.words
    with pytest.raises(UnsupportedError, match="Nothing of it was executed"):
        open_bundle(path)
    assert not target.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_broken_pickles_are_still_pickles(tmp_path, protocol):
    data = pickle.dumps({"weights": Trap(tmp_path / "trapped"), "more": list(range(50))}, protocol)
    for size in range(1, len(data), 7):
        path = tmp_path / "broken.pkl"
        path.write_bytes(data[:size])
        with pytest.raises(FairwayError, match="Nothing of it was executed"):
            open_bundle(path)
    assert not (tmp_path / "trapped").exists()


def test_hostile_files_of_others_are_refused_by_name(shared):
    files = sorted((shared / "malicious" / "picklescan").iterdir())
    assert len(files) > 50
    kinds = {}
    for path in files:
        kinds[path.name] = identify(path).format
        if path.name == "new_pytorch_model.bin":  # the one that only holds a tensor
            assert list(open_bundle(path, complete=False).tensors.infos) == ["tensor"]
            continue
        with pytest.raises(FairwayError, match="Nothing of it was executed"):
            open_bundle(path)
    assert {name for name, kind in kinds.items() if kind == "text"} == {"LICENSE"}
    pickles = [name for name in kinds if name.endswith((".pkl", ".pickle", ".pt"))]
    assert [name for name in pickles if kinds[name] != "pickle"] == []
