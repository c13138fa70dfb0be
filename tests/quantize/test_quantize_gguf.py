"""One GGUF file to another: types, metadata, parts, refusals, and nothing half left behind."""

from types import SimpleNamespace

import numpy as np
import pytest
from mix_models import MODELS, MixModel

from fairway.errors import DoesNotFit, FormatError, SettingsError, UnsupportedError, UsageError
from fairway.formats.gguf import open_gguf
from fairway.formats.gguf_types import BY_NAME, decode_float32
from fairway.formats.gguf_writer import Number, gguf_data, write_gguf
from fairway.formats.open import open_bundle
from fairway.kernels.gguf_quantize import TYPES, quantize
from fairway.models.conversion import to_bf16
from fairway.quantize import quantize_gguf as module
from fairway.quantize.mixes import MIXES, Facts, is_quantized, type_of
from fairway.quantize.quantize_gguf import quantize_gguf

SMALL = MixModel(Facts("llama", 2, 8, 4, True))
METADATA = {
    "general.architecture": "llama",
    "general.name": "Small",
    "general.file_type": 0,
    "llama.block_count": 2,
    "llama.embedding_length": 256,
    "llama.attention.head_count": 8,
    "llama.attention.head_count_kv": 4,
    "odd.numbers": [Number("INT8", -3), Number("INT8", 4)],
    "odd.exact": Number("FLOAT64", 0.1),
    "odd.flags": [True, False],
    "odd.empty": [],
}


def weights(model=SMALL):
    random = np.random.default_rng(0)
    return {
        name: random.standard_normal(shape, np.float32) * np.float32(0.05)
        for name, shape in model.tensors.items()
    }


def write(path, tensors, kind="F32", metadata=METADATA, alignment=32):
    stored = {"F32": lambda v: v, "F16": lambda v: v.astype(np.float16), "BF16": to_bf16}[kind]
    data = {
        name: gguf_data(kind if v.ndim > 1 else "F32", v.shape, stored(v) if v.ndim > 1 else v)
        for name, v in tensors.items()
    }
    write_gguf(path, metadata, data, alignment)
    return path


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "small.gguf", weights())


def values(path):
    file = open_gguf(path)
    return {
        name: decode_float32(tensor.type, file.raw(tensor)).reshape(tensor.info.shape)
        for name, tensor in file.tensors.items()
    }


@pytest.mark.parametrize("mix", MIXES)
def test_every_mix_is_written_and_read(source, tmp_path, mix) -> None:
    target = tmp_path / "out.gguf"
    done = quantize_gguf(source, target, mix)
    before, after, file = values(source), values(target), open_gguf(target)
    assert list(after) == list(before)
    assert done.num_bytes == target.stat().st_size
    assert file.metadata["general.file_type"] == MIXES[mix].file_type
    for name, weight in before.items():
        kind = type_of(mix, name, weight.shape, SMALL.facts)
        assert file.tensors[name].type.name == kind == done.types[name]
        if kind in TYPES:
            expected = quantize(weight, kind)
            assert np.array_equal(file.raw(file.tensors[name]).reshape(expected.shape), expected)
        elif kind == "F32":
            assert np.array_equal(after[name], weight)
        else:
            np.testing.assert_allclose(after[name], weight, rtol=2**-8, atol=1e-7)


@pytest.mark.parametrize("kind", ["F16", "BF16"])
@pytest.mark.parametrize("mix", ["Q4_K_M", "F32", "F16", "BF16"])
def test_halves_are_read(source, tmp_path, kind, mix) -> None:
    halves = write(tmp_path / "halves.gguf", weights(), kind)
    exact = write(tmp_path / "exact.gguf", values(halves))
    for path in (halves, exact):
        quantize_gguf(path, path.with_suffix(".out"), mix)
    first, second = values(halves.with_suffix(".out")), values(exact.with_suffix(".out"))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_metadata_is_carried_to_the_byte(source, tmp_path) -> None:
    target = tmp_path / "out.gguf"
    quantize_gguf(source, target, "Q8_0")
    before, after = open_gguf(source), open_gguf(target)
    changed = {"general.file_type", "general.quantization_version"}
    assert set(after.metadata) == set(before.metadata) | changed
    for key in set(before.metadata) - changed:
        assert after.raw_value(key) == before.raw_value(key), key
    assert after.metadata["general.quantization_version"] == 2


def test_the_alignment_is_kept(tmp_path) -> None:
    source = write(tmp_path / "wide.gguf", weights(), alignment=4096)
    target = tmp_path / "out.gguf"
    quantize_gguf(source, target, "Q4_K_M")
    file = open_gguf(target)
    assert file.metadata["general.alignment"] == 4096
    assert all(tensor.begin % 4096 == 0 for tensor in file.tensors.values())


def test_parts_become_one_file(tmp_path) -> None:
    tensors, whole = weights(), tmp_path / "whole.gguf"
    names = list(tensors)
    for part, chosen in enumerate((names[:4], names[4:])):
        metadata = (METADATA if part == 0 else {}) | {
            "split.no": Number("UINT16", part),
            "split.count": Number("UINT16", 2),
            "split.tensors.count": Number("INT32", len(names)),
        }
        write(
            tmp_path / f"model-{part + 1:05d}-of-00002.gguf",
            {n: tensors[n] for n in chosen},
            metadata=metadata,
        )
    quantize_gguf(tmp_path / "model-00001-of-00002.gguf", whole, "Q4_K_S")
    quantize_gguf(write(tmp_path / "one.gguf", tensors), tmp_path / "expected.gguf", "Q4_K_S")
    assert whole.read_bytes() == (tmp_path / "expected.gguf").read_bytes()


def test_experts_have_their_own_importance(tmp_path) -> None:
    model = MODELS["llama, 4 experts"]
    name = "blk.0.ffn_down_exps.weight"
    tensors = {name: weights(model)[name]}
    source, target = write(tmp_path / "experts.gguf", tensors), tmp_path / "out.gguf"
    importance = np.random.default_rng(1).random(4 * 512, np.float32)
    quantize_gguf(source, target, "Q4_K_S", {name: importance})
    file = open_gguf(target)
    kind = file.tensors[name].type.name
    expected = [quantize(tensors[name][e], kind, importance[e * 512 : (e + 1) * 512]) for e in range(4)]
    assert np.array_equal(file.raw(file.tensors[name]), np.stack(expected).reshape(-1))


def test_importance_of_one_tensor_changes_that_tensor_alone(source, tmp_path) -> None:
    name, plain, weighted = "blk.1.ffn_up.weight", tmp_path / "plain.gguf", tmp_path / "weighted.gguf"
    importance = np.random.default_rng(1).random(256, np.float32)
    quantize_gguf(source, plain, "Q4_K_S")
    quantize_gguf(source, weighted, "Q4_K_S", {name: importance, "of.no.tensor": importance})
    first, second = values(plain), values(weighted)
    assert [each for each in first if not np.array_equal(first[each], second[each])] == [name]


def test_importance_of_another_model_is_refused(source, tmp_path) -> None:
    with pytest.raises(FormatError, match=r"blk.0.attn_q.weight' has 100 values, its rows have 256 columns"):
        quantize_gguf(
            source, tmp_path / "out.gguf", "Q4_0", {"blk.0.attn_q.weight": np.ones(100, np.float32)}
        )


def test_many_slices_give_what_one_gives(source, tmp_path, monkeypatch) -> None:
    quantize_gguf(source, tmp_path / "one.gguf", "Q3_K_M")
    monkeypatch.setattr(module, "SLICE_WEIGHTS", 3 * 256)
    monkeypatch.setattr(module, "RELEASED_BYTES", 4096)
    quantize_gguf(source, tmp_path / "many.gguf", "Q3_K_M")
    assert (tmp_path / "one.gguf").read_bytes() == (tmp_path / "many.gguf").read_bytes()


def test_progress_counts_the_bytes_of_the_source(source, tmp_path) -> None:
    heard = []
    done = quantize_gguf(source, tmp_path / "out.gguf", "Q2_K", progress=lambda *told: heard.append(told))
    assert [told[0] for told in heard] == sorted(told[0] for told in heard)
    assert heard[-1][0] == heard[-1][1] == done.source_bytes


def test_quantised_weights_are_not_rounded_again_unasked(source, tmp_path) -> None:
    quantize_gguf(source, tmp_path / "q8.gguf", "Q8_0")
    with pytest.raises(UnsupportedError, match=r"q8.gguf is quantised already \(token_embd.weight is Q8_0\)"):
        quantize_gguf(tmp_path / "q8.gguf", tmp_path / "out.gguf", "Q4_K_M")
    quantize_gguf(tmp_path / "q8.gguf", tmp_path / "out.gguf", "Q4_K_M", requantize=True)
    first, second = values(tmp_path / "q8.gguf"), values(tmp_path / "out.gguf")
    kind = open_gguf(tmp_path / "out.gguf").tensors["blk.1.ffn_up.weight"].type.name
    expected = quantize(first["blk.1.ffn_up.weight"], kind).reshape(-1)
    assert np.array_equal(second["blk.1.ffn_up.weight"].reshape(-1), decode_float32(BY_NAME[kind], expected))


def test_the_same_type_again_is_a_copy(source, tmp_path) -> None:
    quantize_gguf(source, tmp_path / "first.gguf", "Q4_0")
    quantize_gguf(tmp_path / "first.gguf", tmp_path / "second.gguf", "Q4_0")
    assert (tmp_path / "first.gguf").read_bytes() == (tmp_path / "second.gguf").read_bytes()


@pytest.mark.parametrize(("mix", "value", "shown"), [("Q4_K_M", np.nan, "nan"), ("F16", 1e5, "100000.0")])
def test_what_cannot_be_held_is_refused_by_name_and_place(tmp_path, monkeypatch, mix, value, shown) -> None:
    monkeypatch.setattr(module, "SLICE_WEIGHTS", 5 * 256)
    tensors = weights()
    tensors["blk.1.ffn_gate.weight"][301, 7] = value
    source = write(tmp_path / "broken.gguf", tensors)
    message = f"'blk.1.ffn_gate.weight' of .*broken.gguf holds {shown} in row 301, column 7"
    with pytest.raises(FormatError, match=message):
        quantize_gguf(source, tmp_path / "out.gguf", mix)
    assert [path.name for path in tmp_path.iterdir()] == ["broken.gguf"]


def test_a_failure_leaves_an_earlier_result_as_it_was(source, tmp_path) -> None:
    target = tmp_path / "out.gguf"
    target.write_bytes(b"earlier")

    def fail(done, total, name):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantize_gguf(source, target, "Q8_0", progress=fail)
    assert target.read_bytes() == b"earlier"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.gguf", "small.gguf"]


def test_impossible_requests_are_refused_before_a_byte_is_written(source, tmp_path, monkeypatch) -> None:
    with pytest.raises(SettingsError, match="There is no type 'Q9_X'"):
        quantize_gguf(source, tmp_path / "out.gguf", "Q9_X")
    with pytest.raises(UsageError, match="is the source itself"):
        quantize_gguf(source, source, "Q8_0")
    with pytest.raises(UsageError, match="There is no folder"):
        quantize_gguf(source, tmp_path / "none" / "out.gguf", "Q8_0")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    with pytest.raises(DoesNotFit, match=r"has 0\.00 GB free"):
        quantize_gguf(source, tmp_path / "out.gguf", "Q8_0")
    assert [path.name for path in tmp_path.iterdir()] == ["small.gguf"]


@pytest.mark.parametrize("alias", ["q4_k_m", "Q4_K", "q4_k"])
def test_mixes_have_the_names_that_people_know(source, tmp_path, alias) -> None:
    quantize_gguf(source, tmp_path / "out.gguf", alias)
    assert open_gguf(tmp_path / "out.gguf").metadata["general.file_type"] == MIXES["Q4_K_M"].file_type


def test_the_result_opens_as_a_bundle(source, tmp_path) -> None:
    quantize_gguf(source, tmp_path / "out.gguf", "Q4_K_M")
    bundle = open_bundle(tmp_path / "out.gguf", complete=False)
    expected = values(tmp_path / "out.gguf")["blk.0.ffn_up.weight"]
    weight = bundle.tensors.read("model.layers.0.mlp.up_proj.weight")
    assert weight.shape == expected.shape
    assert all(is_quantized(name, shape) == (len(shape) > 1) for name, shape in SMALL.tensors.items())
