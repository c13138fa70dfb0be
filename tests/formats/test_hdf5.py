"""The HDF5 part of Keras's archives: numbers as h5py reads them; what is broken ends in one sentence."""

import random
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fairway.errors import FairwayError, FormatError, UnsupportedError
from fairway.formats.hdf5 import read_hdf5
from fairway.formats.keras import keras_bundle
from fairway.formats.source import Source

GOLDENS = Path(__file__).parents[1] / "convert" / "goldens" / "keras"


def weights(name):
    with zipfile.ZipFile(GOLDENS / f"{name}.keras") as archive:
        return archive.read("model.weights.h5")


def read(tmp_path, raw):
    path = tmp_path / "weights.h5"
    path.write_bytes(raw)
    return read_hdf5(Source(path))


def test_every_array_is_there(tmp_path):
    found = read(tmp_path, weights("cnn"))
    kept = {name: each for name, each in found.items() if not name.startswith("optimizer")}
    assert len(kept) == 13
    kernel = kept["layers/conv2d/vars/0"]
    assert (kernel.type, kernel.shape, kernel.span[1] - kernel.span[0]) == ("F32", (3, 3, 3, 6), 4 * 162)


def test_numbers_are_those_of_h5py(tmp_path):
    h5py = pytest.importorskip("h5py")
    raw = weights("merging")
    found = read(tmp_path, raw)
    with h5py.File(tmp_path / "weights.h5") as file:
        for name, each in found.items():
            values = np.frombuffer(raw[slice(*each.span)], "<f4").reshape(each.shape)
            np.testing.assert_array_equal(values, file[name][()])


def test_whole_numbers_and_halves_are_told_apart(tmp_path):
    h5py = pytest.importorskip("h5py")
    arrays = {"a": np.int32([1, -2]), "b": np.uint8([3]), "c": np.float16([[0.5]]), "d": np.float64(2)}
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        for name, values in arrays.items():
            file[name] = values
    found = read_hdf5(Source(tmp_path / "weights.h5"))
    assert [each.type for each in found.values()] == ["I32", "U8", "F16", "F64"]
    assert [each.shape for each in found.values()] == [(2,), (1,), (1, 1), ()]


def test_other_layouts_are_named(tmp_path):
    h5py = pytest.importorskip("h5py")
    for number, options in enumerate(({"libver": "latest"}, {})):
        path = tmp_path / f"{number}.h5"
        with h5py.File(path, "w", **options) as file:
            file.create_dataset(
                "x", data=np.zeros((64, 64), np.float32), compression=None if options else "gzip"
            )
        with pytest.raises(UnsupportedError, match=r"which Keras (does not write|never does)"):
            read_hdf5(Source(path))


def test_cut_short_and_changed_files_end_in_one_sentence(tmp_path):
    """Every length and address of the file, one byte at a time."""
    raw = bytearray(weights("text"))
    seed = random.Random(5)
    for _ in range(1500):
        broken = bytearray(raw)
        for _ in range(seed.randint(1, 3)):
            broken[seed.randrange(len(raw))] = seed.choice((0, 1, 0x7F, 0x80, 0xFF, seed.randrange(256)))
        if seed.random() < 0.3:
            del broken[seed.randrange(len(raw)) :]
        try:
            found = read(tmp_path, bytes(broken))
        except FairwayError as error:
            assert len(str(error)) < 600
            continue
        assert all(0 <= each.span[0] <= each.span[1] <= len(broken) for each in found.values())


def test_a_group_in_itself_ends(tmp_path):
    """The root's address in place of its first child's."""
    raw = bytearray(weights("activations"))
    at = raw.index(b"SNOD") + 8 + 8
    raw[at : at + 8] = raw[64:72]
    with pytest.raises(FormatError, match="has a loop"):
        read(tmp_path, bytes(raw))


@pytest.mark.parametrize("problem", ["compressed", "no weights", "not a zip", "config"])
def test_broken_archives(tmp_path, problem):
    path = tmp_path / "model.keras"
    if problem == "not a zip":
        path.write_bytes(b"PK\x03\x04" + bytes(100))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("config.json", "{}" if problem != "config" else "[1")
            if problem != "no weights":
                archive.writestr("model.weights.h5", weights("cnn"))
    with pytest.raises((FormatError, UnsupportedError)):
        keras_bundle(path)
