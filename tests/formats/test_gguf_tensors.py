"""GGUF tensors come back as the Hugging Face folder has them: names, row order, values."""

import numpy as np
import pytest
from format_models import numbers

from fairway.errors import FormatError, UnsupportedError
from fairway.formats.gguf_tensors import halves_from_pairs, pairs_from_halves
from fairway.formats.gguf_types import grouped_to_float32
from fairway.formats.gguf_writer import GgufData, gguf_data
from fairway.formats.open import open_bundle
from fairway.formats.open_gguf import gguf_bundle


def as_llama_cpp_stores_it(weight, heads):
    """The reordering of llama.cpp's conversion, written as it is there: halves become pairs."""
    rows = weight.shape[0]
    return (
        weight.reshape(heads, 2, rows // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)
    )


def test_q_and_k_rows_are_put_back_in_order(make_gguf):
    q, k, bias = numbers(32, 32), numbers(16, 32, seed=1), numbers(32, seed=2)
    path = make_gguf(
        {
            "blk.0.attn_q.weight": as_llama_cpp_stores_it(q, 4),
            "blk.0.attn_k.weight": as_llama_cpp_stores_it(k, 2),
            "blk.0.attn_q.bias": as_llama_cpp_stores_it(bias, 4),
            "blk.0.attn_v.weight": k,
        }
    )
    tensors = gguf_bundle(path).tensors
    np.testing.assert_array_equal(tensors.read("model.layers.0.self_attn.q_proj.weight").values, q)
    np.testing.assert_array_equal(tensors.read("model.layers.0.self_attn.k_proj.weight").values, k)
    np.testing.assert_array_equal(tensors.read("model.layers.0.self_attn.q_proj.bias").values, bias)
    np.testing.assert_array_equal(tensors.read("model.layers.0.self_attn.v_proj.weight").values, k)


@pytest.mark.parametrize("type_name", ["Q4_0", "Q4_1", "Q8_0"])
def test_quantised_rows_are_put_back_without_touching_a_number(make_gguf, type_name):
    row_bytes = {"Q4_0": 18, "Q4_1": 20, "Q8_0": 34}[type_name]
    blocks = np.random.default_rng(5).integers(0, 60, (32, row_bytes), dtype=np.uint8)
    plain = GgufData(type_name, (32, 32), lambda: [blocks.tobytes()])
    moved = GgufData(type_name, (32, 32), lambda: [as_llama_cpp_stores_it(blocks, 4).tobytes()])
    path = make_gguf({"blk.0.attn_q.weight": moved, "blk.0.attn_output.weight": plain})
    tensors = gguf_bundle(path).tensors
    q = tensors.read("model.layers.0.self_attn.q_proj.weight")
    o = tensors.read("model.layers.0.self_attn.o_proj.weight")
    np.testing.assert_array_equal(grouped_to_float32(q), grouped_to_float32(o))
    np.testing.assert_array_equal(q.values, o.values)
    np.testing.assert_array_equal(q.scales, o.scales)


@pytest.mark.parametrize("architecture", ["qwen2", "qwen3", "olmo2"])
def test_families_with_half_rotation_keep_their_rows(make_gguf, architecture):
    q = numbers(32, 32)
    tensors = gguf_bundle(make_gguf({"blk.0.attn_q.weight": q}, architecture)).tensors
    np.testing.assert_array_equal(tensors.read("model.layers.0.self_attn.q_proj.weight").values, q)


def test_row_order_there_and_back():
    index, inverse = halves_from_pairs(24, 3, "q"), pairs_from_halves(24, 3)
    np.testing.assert_array_equal(np.arange(24)[index][inverse], np.arange(24))
    assert halves_from_pairs(8, 1, "q").tolist() == [0, 2, 4, 6, 1, 3, 5, 7]


def test_rows_that_are_no_heads_are_an_error(make_gguf):
    tensors = gguf_bundle(make_gguf({"blk.0.attn_q.weight": numbers(30, 32)})).tensors
    with pytest.raises(
        FormatError, match=r"q_proj.weight of .*model.gguf has 30 rows, which are not 4 heads"
    ):
        tensors.read("model.layers.0.self_attn.q_proj.weight")


@pytest.mark.parametrize("architecture", ["gemma2", "gemma3"])
def test_gemma_norms_lose_the_one_that_gguf_adds(make_gguf, architecture):
    norm = (np.arange(32, dtype=np.float32) - 16) / 128
    stored = {
        "blk.0.attn_norm.weight": norm + 1,
        "output_norm.weight": norm + 1,
        "blk.0.attn_q_norm.weight": norm + 1,
    }
    tensors = gguf_bundle(make_gguf(stored, architecture)).tensors
    for name in tensors.infos:
        np.testing.assert_array_equal(tensors.read(name).values, norm)
    assert "model.layers.0.input_layernorm.weight" in tensors.infos


def test_gpt2_matrices_are_turned_back(make_gguf):
    matrix, bias = numbers(96, 32), numbers(96)
    path = make_gguf(
        {"blk.0.attn_qkv.weight": matrix, "blk.0.attn_qkv.bias": bias, "token_embd.weight": numbers(6, 32)},
        "gpt2",
    )
    tensors = gguf_bundle(path).tensors
    name = "transformer.h.0.attn.c_attn.weight"
    assert tensors.infos[name].shape == (32, 96)
    np.testing.assert_array_equal(tensors.read(name).values, matrix.T)
    np.testing.assert_array_equal(tensors.read("transformer.h.0.attn.c_attn.bias").values, bias)
    assert tensors.infos["transformer.wte.weight"].shape == (6, 32)


def test_gpt2_quantised_matrices_come_back_as_floats(make_gguf):
    blocks = np.random.default_rng(5).integers(0, 60, (64, 34), dtype=np.uint8)
    path = make_gguf({"blk.0.ffn_up.weight": gguf_data("Q8_0", (64, 32), blocks)}, "gpt2")
    read = gguf_bundle(path).tensors.read("transformer.h.0.mlp.c_fc.weight")
    assert (read.type, read.shape) == ("f32", (32, 64))


def test_rope_tensors_belong_to_the_config(make_gguf):
    path = make_gguf(
        {"rope_freqs.weight": np.array([1, 2, 3, 4], np.float32), "output_norm.weight": numbers(32)}
    )
    bundle = gguf_bundle(path)
    assert list(bundle.tensors.infos) == ["model.norm.weight"]
    assert bundle.config["rope_scaling"]["long_factor"] == [1, 2, 3, 4]


def test_rope_factors_that_are_no_factors(make_gguf):
    path = make_gguf({"rope_freqs.weight": np.array([1, np.nan, 3, 0], np.float32)})
    with pytest.raises(FormatError, match="something else than rope factors"):
        gguf_bundle(path)


def test_a_missing_tensor_names_the_file(make_gguf):
    with pytest.raises(FormatError, match=r"model.gguf has no tensor 'lm_head.weight'"):
        gguf_bundle(make_gguf({"output_norm.weight": numbers(32)})).tensors.read("lm_head.weight")


def test_types_that_cannot_be_run_are_listed_and_named(make_gguf):
    path = make_gguf({"output.weight": gguf_data("IQ2_XXS", (4, 256), np.zeros(4 * 66, np.uint8))})
    bundle = open_bundle(path, complete=False)
    assert bundle.tensors.infos["lm_head.weight"].type == "IQ2_XXS"
    with pytest.raises(UnsupportedError, match="is IQ2_XXS, which cannot be run"):
        bundle.tensors.read("lm_head.weight")
    with pytest.raises(UnsupportedError, match="stores 1 tensors as IQ2_XXS"):
        open_bundle(path)


def test_stacks_of_quantised_matrices_come_back_as_floats(make_gguf):
    path = make_gguf(
        {"blk.0.ffn_gate_exps.weight": gguf_data("Q8_0", (2, 4, 32), np.zeros(8 * 34, np.uint8))}
    )
    read = gguf_bundle(path).tensors.read("blk.0.ffn_gate_exps.weight")
    assert (read.type, read.shape) == ("f32", (2, 4, 32))


def test_two_spellings_of_one_tensor_are_refused(make_gguf):
    path = make_gguf({"output_norm.weight": numbers(32), "model.norm.weight": numbers(32)})
    with pytest.raises(FormatError, match=r"'model.norm.weight' twice"):
        gguf_bundle(path)


def test_split_files_are_one_model(make_gguf, tmp_path):
    first, second = numbers(6, 32), numbers(32)
    split = {"split.count": 2, "split.tensors.count": 2}
    make_gguf({"token_embd.weight": first}, name="m-00001-of-00002.gguf", **split, **{"split.no": 0})
    path = make_gguf({"output_norm.weight": second}, name="m-00002-of-00002.gguf", **split, **{"split.no": 1})
    for start in (path, tmp_path / "m-00001-of-00002.gguf", tmp_path):
        bundle = open_bundle(start)
        np.testing.assert_array_equal(bundle.tensors.read("model.embed_tokens.weight").values, first)
        np.testing.assert_array_equal(bundle.tensors.read("model.norm.weight").values, second)
        assert bundle.config["num_hidden_layers"] == 1


def test_a_missing_part_is_named(make_gguf):
    path = make_gguf({}, name="m-00002-of-00002.gguf", **{"split.no": 1, "split.count": 2})
    with pytest.raises(FormatError, match=r"one of 2 parts and m-00001-of-00002.gguf is missing"):
        open_bundle(path)


@pytest.mark.parametrize("architecture", ["qwen2", "llama", "gpt2"])
def test_slices_of_rows_are_the_whole_tensor(make_gguf, architecture):
    blocks = np.random.default_rng(6).integers(0, 60, (32, 34), dtype=np.uint8)
    data = GgufData("Q8_0", (32, 32), lambda: [blocks.tobytes()])
    names = ["token_embd.weight", "blk.0.attn_output.weight"]
    tensors = gguf_bundle(make_gguf(dict.fromkeys(names, data), architecture)).tensors
    for name in tensors.infos:
        slices = list(tensors.read_slices(name, 7))
        found = np.concatenate([part.values for part in slices])
        np.testing.assert_array_equal(found, tensors.read(name).values)
    assert len(list(tensors.read_slices(next(iter(tensors.infos)), 7))) == 5


def test_slices_of_reordered_rows_come_whole(make_gguf):
    q = numbers(32, 32)
    tensors = gguf_bundle(make_gguf({"blk.0.attn_q.weight": as_llama_cpp_stores_it(q, 4)})).tensors
    (whole,) = tensors.read_slices("model.layers.0.self_attn.q_proj.weight", 7)
    np.testing.assert_array_equal(whole.values, q)


def test_a_turned_matrix_keeps_its_low_bits(make_gguf):
    blocks = np.random.default_rng(7).integers(0, 60, (48, 34), dtype=np.uint8)
    data = GgufData("Q8_0", (48, 32), lambda: [blocks.tobytes()])
    tensors = gguf_bundle(
        make_gguf({"blk.0.attn_qkv.weight": data, "token_embd.weight": data}, "gpt2")
    ).tensors
    name = "transformer.h.0.attn.c_attn.weight"
    found = tensors.read_turned(name)
    assert (found.bits, found.shape) == (8, (48, 32))
    np.testing.assert_array_equal(grouped_to_float32(found), tensors.read(name).values.T)
    table = tensors.read_turned("transformer.wte.weight")
    np.testing.assert_array_equal(table.values.T, grouped_to_float32(tensors.read("transformer.wte.weight")))
