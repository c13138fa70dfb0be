"""Sharding, merging, casting and leaving pickles behind: nothing changes that was not asked to."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_folders import LLAMA, converted, make_folder, same_weights
from torch_zips import torch_zip

from fairway.convert.settings import parse_size
from fairway.errors import FormatError, SettingsError
from fairway.formats.digest import bundle_digest
from fairway.formats.floats import floats
from fairway.formats.open import open_bundle
from fairway.formats.safetensors_writer import TensorData, tensor_data, write_safetensors
from fairway.models.loader import load_model
from fairway.tensors import DenseTensor


def test_sharding_and_merging_come_back_to_the_same_digest(model, tmp_path):
    sharded = converted(model, "safetensors", tmp_path / "sharded", max_shard_bytes=60_000)
    merged = converted(tmp_path / "sharded", "safetensors", tmp_path / "merged")
    assert sharded.digest == sharded.source_digest == merged.digest
    shards = sorted(path.name for path in (tmp_path / "sharded").glob("*.safetensors"))
    assert shards[0] == f"model-00001-of-{len(shards):05d}.safetensors"
    index = json.loads((tmp_path / "sharded" / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"].values()) == set(shards)
    for name in shards:
        assert (tmp_path / "sharded" / name).stat().st_size < 70_000 or len(
            [key for key, file in index["weight_map"].items() if file == name]
        ) == 1
    assert [path.name for path in (tmp_path / "merged").glob("*.safetensors")] == ["model.safetensors"]
    same_weights(model, tmp_path / "merged")


def test_everything_that_belongs_to_a_model_travels(model, tmp_path):
    (model / "notes.txt").write_text("mine")
    (model / "1_Pooling").mkdir()
    (model / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    (model / "modules.json").write_text('[{"path": "1_Pooling", "type": "a.Pooling"}]')
    converted(model, "safetensors", tmp_path / "out")
    before, after = open_bundle(model), open_bundle(tmp_path / "out")
    for part in ("config", "chat_template", "generation", "end_of_text_ids", "licence", "pooling"):
        assert getattr(after, part) == getattr(before, part)
    assert after.pooling.kind == "cls"
    assert not (tmp_path / "out" / "notes.txt").exists()
    assert after.lineage.digest == bundle_digest(after).value
    assert after.lineage.steps[0].sources[0].digest == bundle_digest(before).value


def test_lineage_grows_by_one_step_for_each_hop(model, tmp_path):
    converted(model, "safetensors", tmp_path / "one", type="BF16")
    converted(tmp_path / "one", "safetensors", tmp_path / "two", max_shard_bytes=60_000)
    steps = open_bundle(tmp_path / "two").lineage.steps
    assert [step.settings["type"] for step in steps] == ["BF16", "stored"]
    assert steps[0].sources[0].name == "model"
    assert steps[0].tools["fairway"]
    assert steps[1].proof["tensors"]["BF16 -> BF16"]["equal"] is True


@pytest.mark.parametrize(("kind", "dtype"), [("F16", "float16"), ("BF16", "bfloat16"), ("F32", "float32")])
def test_casting_rounds_as_told_and_config_says_so(model, tmp_path, kind, dtype):
    report = converted(model, "safetensors", tmp_path / "cast", type=kind)
    bundle = open_bundle(tmp_path / "cast")
    assert bundle.config["dtype"] == dtype
    assert {info.type for info in bundle.tensors.infos.values()} == {kind}
    row = report.tensors[f"F32 -> {kind}"]
    assert row["equal"] is (kind == "F32")
    if kind != "F32":
        source = open_bundle(model)
        errors = [
            np.abs(floats(bundle.tensors.read(name)) - source.tensors.read(name).values).max()
            for name in source.tensors.infos
        ]
        assert row["max_error"] == pytest.approx(max(errors), rel=1e-5)
        assert 0 < row["relative_error"] < (0.003 if kind == "BF16" else 0.0005)


def test_wider_floats_hold_every_number(tmp_path):
    source = make_folder(tmp_path / "model", kind="bf16")
    report = converted(source, "safetensors", tmp_path / "wide", type="F32")
    assert report.tensors["BF16 -> F32"]["equal"] is True
    converted(tmp_path / "wide", "safetensors", tmp_path / "back", type="BF16")
    same_weights(source, tmp_path / "back")


def test_a_weight_beyond_f16_is_refused_and_nothing_stays(model, tmp_path):
    source = open_bundle(model)
    data = {name: tensor_data(source.tensors.read(name)) for name in source.tensors.infos}
    data["model.norm.weight"] = tensor_data(np.full(64, 70000, np.float32))
    write_safetensors(model / "model.safetensors", data)
    with pytest.raises(FormatError, match=r"model.norm.weight holds 70000, and F16 ends at 65504") as caught:
        converted(model, "safetensors", tmp_path / "out", type="F16")
    assert "bf16" in caught.value.hint
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_tensors_that_are_no_floats_are_copied(model, tmp_path):
    source = open_bundle(model)
    data = {name: tensor_data(source.tensors.read(name)) for name in source.tensors.infos}
    data["model.position_ids"] = tensor_data(np.arange(128, dtype=np.int64).reshape(2, 64))
    data["model.flags"] = TensorData("F8_E4M3", (3, 5), lambda: [bytes(range(15))])
    write_safetensors(model / "model.safetensors", data)
    converted(model, "safetensors", tmp_path / "out", type="BF16")
    tensors = open_bundle(tmp_path / "out").tensors
    assert tensors.infos["model.position_ids"].type == "I64"
    assert tensors.stored("model.flags").tobytes() == bytes(range(15))


def test_a_pickle_becomes_safetensors(model, tmp_path):
    source = open_bundle(model)
    torch_zip(model / "pytorch_model.bin", {n: source.tensors.read(n).values for n in source.tensors.infos})
    plain = tmp_path / "plain"
    converted(model, "safetensors", plain)
    (model / "model.safetensors").unlink()
    report = converted(model, "safetensors", tmp_path / "out")
    same_weights(plain, tmp_path / "out")
    assert report.digest == report.source_digest == bundle_digest(open_bundle(plain)).value


def test_the_result_speaks_as_the_source(model, tmp_path):
    from tiny_models import Session

    from fairway.kernels.reference import ReferenceBackend

    converted(model, "safetensors", tmp_path / "out", max_shard_bytes=60_000)
    logits = [
        Session(load_model(open_bundle(path), ReferenceBackend())).feed([3, 1, 4, 1, 5])
        for path in (model, tmp_path / "out")
    ]
    np.testing.assert_array_equal(*logits)


NAMES = st.lists(st.text("abc.0123456789", min_size=1, max_size=6), min_size=1, max_size=6, unique=True)


@settings(max_examples=25, deadline=None)
@given(names=NAMES, data=st.data(), limit=st.integers(1, 200))
def test_any_tensors_survive_any_sharding(tmp_path_factory, names, data, limit):
    folder = tmp_path_factory.mktemp("any")
    tensors = {}
    for number, name in enumerate(names):
        shape = tuple(data.draw(st.lists(st.integers(0, 4), max_size=3)))
        values = np.random.default_rng(number).integers(0, 1 << 16, shape, np.uint16)
        tensors[name] = tensor_data(DenseTensor("bf16", values))
    write_safetensors(folder / "a.safetensors", tensors)
    options = {"weights_only": True}
    first = converted(folder / "a.safetensors", "safetensors", folder / "b", max_shard_bytes=limit, **options)
    second = converted(folder / "b", "safetensors", folder / "c", **options)
    assert first.digest == first.source_digest == second.digest
    same_weights(folder / "a.safetensors", folder / "c")


@pytest.mark.parametrize(("text", "size"), [("5GB", 5e9), ("1.5 MiB", 1572864), ("300kB", 3e5), ("77", 77)])
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "big", "-1GB", "5 bits"])
def test_what_is_no_size_is_said(text):
    with pytest.raises(SettingsError, match="is not a size"):
        parse_size(text)


def test_low_bit_types_are_for_gguf(model, tmp_path):
    with pytest.raises(SettingsError, match="not Q4_K_M"):
        converted(model, "safetensors", tmp_path / "out", type="Q4_K_M")


def test_a_multimodal_config_states_its_type_twice(tmp_path):
    config = LLAMA | {"torch_dtype": "float32", "text_config": {"dtype": "float32"}}
    from fairway.convert.sidecars import with_dtype

    changed = with_dtype(config, "F16")
    assert changed["dtype"] == changed["torch_dtype"] == changed["text_config"]["dtype"] == "float16"
