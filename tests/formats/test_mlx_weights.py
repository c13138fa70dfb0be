"""Folders that MLX quantised, read as MLX reads them (recorded by tests/convert/make_mlx_goldens.py)."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairway.errors import FormatError, UnsupportedError
from fairway.formats.mlx_weights import CODE_BITS, mlx_tensors, pack_codes, unpack_codes
from fairway.formats.open import open_bundle
from fairway.formats.quantized_folder import method_of, with_weights
from fairway.formats.safetensors import open_safetensors
from fairway.formats.safetensors_writer import tensor_data, write_safetensors
from fairway.formats.summary import summarize
from fairway.models.conversion import floats_of
from fairway.tensors import DenseTensor, GroupedTensor

DATA = Path(__file__).parent / "data" / "mlx"
GOLDENS = sorted(path.stem for path in DATA.glob("*.safetensors"))


def stated(name):
    bits, group, _ = name.split("-")
    return {"bits": int(bits), "group_size": int(group)}


@pytest.mark.parametrize("name", GOLDENS)
def test_what_mlx_dequantises(name):
    tensors = mlx_tensors(open_safetensors(DATA / f"{name}.safetensors"), stated(name))
    weight, expected = tensors.read("x.weight"), tensors.read("expected")
    assert isinstance(weight, GroupedTensor) and isinstance(expected, DenseTensor)
    assert np.array_equal(floats_of(weight), expected.values)
    assert weight.group == 32 and weight.bits == max(4, stated(name)["bits"])
    assert set(tensors.infos) == {"x.weight", "given", "expected"}
    info = tensors.infos["x.weight"]
    assert info.shape == expected.shape and info.type == f"INT{stated(name)['bits']}_ASYM"
    assert len(tensors.stored("x.weight")) == info.num_bytes


@given(st.sampled_from(CODE_BITS), st.integers(1, 3), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_codes_survive_packing(bits, rows, words, seed):
    codes = np.random.RandomState(seed).randint(0, 1 << bits, (rows, 32 * words)).astype(np.uint8)
    packed = pack_codes(codes, bits)
    assert packed.dtype == np.uint32 and packed.shape == (rows, words * bits)
    assert np.array_equal(unpack_codes(packed, bits), codes)


def test_a_model_that_mlx_lm_quantised_says_so():
    bundle = open_bundle(DATA / "tiny", complete=False)
    assert method_of(bundle.config) == "mlx" and summarize(bundle).quantization == "mlx"
    infos = with_weights(bundle).tensors.infos
    assert infos["lm_head.weight"].type == "INT8_ASYM"
    assert infos["model.layers.0.mlp.up_proj.weight"].type == "INT4_ASYM"
    assert infos["model.norm.weight"].type == "F32"


def opened(tmp_path, config, **changes):
    """One weight of eight rows and 64 columns in 4 bits, with some parts changed or left out."""
    parts = {
        "weight": np.zeros((8, 8), np.uint32),
        "scales": np.ones((8, 2), np.float16),
        "biases": np.zeros((8, 2), np.float16),
    } | changes
    data = {f"x.{name}": tensor_data(value) for name, value in parts.items() if value is not None}
    write_safetensors(tmp_path / "model.safetensors", data)
    (tmp_path / "config.json").write_text(json.dumps({"quantization": config}))
    return with_weights(open_bundle(tmp_path, complete=False)).tensors


PLAIN = {"bits": 4, "group_size": 32}


@pytest.mark.parametrize(
    "config",
    [
        PLAIN | {"mode": "nvfp4"},
        PLAIN | {"bits": 7},
        PLAIN | {"group_size": 48},
        PLAIN | {"x": {"bits": [4]}},
        PLAIN | {"x": {"mode": {}}},
    ],
)
def test_variants_that_are_not_known_are_named(config, tmp_path):
    with pytest.raises(UnsupportedError, match="MLX quantised x as"):
        opened(tmp_path, config)


@pytest.mark.parametrize(
    ("config", "changes", "words"),
    [
        (PLAIN, {"biases": None}, "x has scales but no biases"),
        (PLAIN, {"weight": np.zeros((8, 8), np.int32)}, "x.weight is I32"),
        (PLAIN, {"weight": np.zeros((8, 2, 4), np.uint32)}, "x.weight is U32"),
        (PLAIN, {"scales": np.ones((8, 3), np.float16)}, r"shape \[8, 3\], not \[8, 2\]"),
        (PLAIN | {"bits": 8}, {}, r"shape \[8, 2\], not \[8, 1\]"),
        (PLAIN, {"scales": np.ones((8, 2), np.uint8)}, "are U8, not floats"),
    ],
)
def test_parts_that_do_not_fit_are_errors_in_one_sentence(config, changes, words, tmp_path):
    with pytest.raises(FormatError, match=words):
        opened(tmp_path, config, **changes)


def test_layers_named_in_the_config_have_bits_of_their_own(tmp_path):
    config = {"bits": 8, "group_size": 64, "x": {"bits": 4, "group_size": 32}, "y": False}
    assert opened(tmp_path, config).infos["x.weight"].shape == (8, 64)
