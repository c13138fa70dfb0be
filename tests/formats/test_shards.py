"""Checkpoints of several files: joined by their index, and never reaching outside the folder."""

import json

import numpy as np
import pytest
from format_models import numbers

from fairway.errors import FormatError
from fairway.formats.safetensors_writer import tensor_data, write_safetensors
from fairway.formats.shards import open_shards

FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


@pytest.fixture
def index(tmp_path):
    write_safetensors(tmp_path / FIRST, {"a": tensor_data(numbers(3)), "b": tensor_data(numbers(2, 2))})
    write_safetensors(tmp_path / SECOND, {"c": tensor_data(numbers(5))})
    return write_index(tmp_path, {"a": FIRST, "b": FIRST, "c": SECOND})


def write_index(folder, weight_map):
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return path


def test_tensors_of_all_shards_are_one_set(index):
    shards = open_shards(index)
    assert sorted(shards.infos) == ["a", "b", "c"]
    np.testing.assert_array_equal(shards.read("b").values, numbers(2, 2))
    np.testing.assert_array_equal(shards.read("c").values, numbers(5))
    with pytest.raises(FormatError, match="has no tensor 'd'"):
        shards.read("d")


def test_shards_may_be_links_as_in_the_hub_cache(index, tmp_path):
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    (tmp_path / SECOND).rename(blobs / "abc")
    (tmp_path / SECOND).symlink_to(blobs / "abc")
    np.testing.assert_array_equal(open_shards(index).read("c").values, numbers(5))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("../secret.safetensors", "lies outside its folder; it was not opened"),
        ("/etc/passwd.safetensors", "lies outside its folder; it was not opened"),
        ("a\\b.safetensors", "lies outside its folder"),
        ("C:b.safetensors", "lies outside its folder"),
        ("/etc/passwd", "not a .safetensors file"),
        ("model.safetensors.index.json", "not a .safetensors file"),
        ("model-00003-of-00002.safetensors", "which is missing"),
        (SECOND, "holds 'a', but it does not"),
    ],
)
def test_an_index_that_points_elsewhere_is_refused(index, name, sentence):
    with pytest.raises(FormatError, match=sentence):
        open_shards(write_index(index.parent, {"a": name, "c": SECOND}))


@pytest.mark.parametrize("weight_map", [None, [], {}, "all", {"a": 1}])
def test_an_index_without_a_map_is_refused(index, weight_map):
    with pytest.raises(FormatError, match="weight_map"):
        open_shards(write_index(index.parent, weight_map))


def test_a_ring_of_links_is_refused(index, tmp_path):
    (tmp_path / SECOND).unlink()
    (tmp_path / SECOND).symlink_to(SECOND)
    with pytest.raises(FormatError, match=SECOND):
        open_shards(index)
