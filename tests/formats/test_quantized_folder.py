"""Weights that GPTQ, AWQ, compressed-tensors and MXFP4 packed, read as their libraries mean them."""

import json
from pathlib import Path

import numpy as np
import pytest
from quantized_writers import awq, gptq, meaning, random_codes

from fairway.errors import FormatError, UnsupportedError
from fairway.formats.quantized_folder import QuantizedTensors, quantized
from fairway.formats.safetensors import open_safetensors
from fairway.formats.safetensors_writer import tensor_data, write_safetensors
from fairway.models.conversion import floats_of
from fairway.tensors import DenseTensor, GroupedTensor

DATA = Path(__file__).parent / "data" / "quantized"
GOLDENS = sorted(path.stem for path in DATA.glob("*.json"))
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 32, "sym": True, "desc_act": False}
AWQ = {"quant_method": "awq", "bits": 4, "group_size": 64, "zero_point": True, "version": "gemm"}


def opened(tmp_path, tensors, config):
    path = tmp_path / "model.safetensors"
    write_safetensors(path, {name: tensor_data(values) for name, values in tensors.items()})
    return quantized(open_safetensors(path), {"quantization_config": config})


@pytest.mark.parametrize("name", GOLDENS)
def test_what_the_libraries_unpack(name):
    config = json.loads((DATA / f"{name}.json").read_text())
    tensors = quantized(open_safetensors(DATA / f"{name}.safetensors"), {"quantization_config": config})
    weight_name = "x" if name == "mxfp4" else "x.weight"
    weight, expected = tensors.read(weight_name), tensors.read("expected").values
    assert isinstance(weight, GroupedTensor)
    found = floats_of(weight)
    assert np.array_equal(found, expected.reshape(found.shape))
    assert tensors.infos[weight_name].shape == expected.shape
    assert set(tensors.infos) == {weight_name, "expected"}
    assert len(tensors.stored(weight_name)) == tensors.infos[weight_name].num_bytes
    bits = {"int4": 4, "int8": 8, "mxfp4": 5}[name.partition("-")[0]]
    assert weight.bits == bits
    assert (weight.offsets is None) == ("zeros" not in name)


@pytest.mark.parametrize("group", [16, 32, 64, 128, -1])
@pytest.mark.parametrize("form", ["gptq", "gptq_v2"])
def test_gptq(form, group, tmp_path):
    columns = 128
    width = columns if group == -1 else group
    codes, zeros, scales = random_codes(24, columns, width)
    group_of = np.arange(columns) // width
    config = GPTQ | {"group_size": group, "checkpoint_format": form, "sym": False}
    tensors = opened(tmp_path, gptq("x", codes, zeros, scales, group_of, first_format=form == "gptq"), config)
    weight = tensors.read("x.weight")
    assert np.array_equal(floats_of(weight), meaning(codes, zeros, scales, group_of))
    assert (weight.bits, weight.group) == (4, 16 if group == 16 else 32)
    assert tensors.infos["x.weight"].shape == (24, columns)
    assert tensors.infos["x.weight"].type == "INT4_ASYM"


@pytest.mark.parametrize("bits", [4, 8])
def test_symmetric_gptq_has_no_offsets(bits, tmp_path):
    codes, zeros, scales = random_codes(8, 64, 32, bits)
    zeros[:] = 1 << (bits - 1)
    group_of = np.arange(64) // 32
    tensors = opened(tmp_path, gptq("x", codes, zeros, scales, group_of, bits=bits), GPTQ | {"bits": bits})
    weight = tensors.read("x.weight")
    assert weight.offsets is None
    assert np.array_equal(floats_of(weight), meaning(codes, zeros, scales, group_of))
    assert tensors.infos["x.weight"].type == f"INT{bits}"


def test_eight_bits_with_zeros(tmp_path):
    codes, zeros, scales = random_codes(8, 64, 32, 8)
    group_of = np.arange(64) // 32
    tensors = opened(
        tmp_path, gptq("x", codes, zeros, scales, group_of, bits=8), GPTQ | {"bits": 8, "sym": False}
    )
    assert np.array_equal(floats_of(tensors.read("x.weight")), meaning(codes, zeros, scales, group_of))


def test_columns_in_order_of_activation_become_float16(tmp_path):
    codes, zeros, scales = random_codes(8, 64, 32)
    group_of = np.random.default_rng(1).permutation(np.arange(64) // 32)
    tensors = opened(
        tmp_path, gptq("x", codes, zeros, scales, group_of), GPTQ | {"desc_act": True, "sym": False}
    )
    weight = tensors.read("x.weight")
    assert isinstance(weight, DenseTensor)
    assert np.array_equal(weight.values, meaning(codes, zeros, scales, group_of).astype(np.float16))
    assert tensors.infos["x.weight"].type == "F16"


@pytest.mark.parametrize("group", [32, 64, 128])
def test_awq(group, tmp_path):
    codes, zeros, scales = random_codes(16, 128, group)
    tensors = opened(tmp_path, awq("x", codes, zeros, scales), AWQ | {"group_size": group})
    expected = meaning(codes, zeros, scales, np.arange(128) // group)
    assert np.array_equal(floats_of(tensors.read("x.weight")), expected)


def test_what_is_not_quantised_is_read_as_it_is(tmp_path):
    codes, zeros, scales = random_codes(8, 64, 64)
    plain = {"norm.weight": np.ones(8, np.float32), "x.bias": np.ones(8, np.float16)}
    tensors = opened(tmp_path, awq("x", codes, zeros, scales) | plain, AWQ)
    assert set(tensors.infos) == {"x.weight", *plain}
    assert np.array_equal(tensors.read("norm.weight").values, plain["norm.weight"])
    assert isinstance(tensors, QuantizedTensors)
    stored = open_safetensors(tmp_path / "model.safetensors")
    assert quantized(stored, {}) is stored
    for method in ("bitsandbytes", None, ["awq"], {}):
        assert quantized(stored, {"quantization_config": {"quant_method": method}}) is stored


CT = {"quant_method": "compressed-tensors", "format": "pack-quantized"}
WEIGHTS = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32, "symmetric": True}


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (GPTQ | {"bits": 3}, "GPTQ in 3 bits"),
        (GPTQ | {"checkpoint_format": "marlin"}, "'marlin'"),
        (AWQ | {"version": "gemv"}, "'gemv'"),
        (AWQ | {"bits": 8}, "AWQ in 8 bits"),
        (
            CT | {"config_groups": {"a": {"weights": WEIGHTS}, "b": {"weights": WEIGHTS}}},
            "2 groups of layers",
        ),
        (CT | {"format": "nvfp4-pack-quantized", "config_groups": {"a": {"weights": WEIGHTS}}}, "nvfp4"),
        (CT | {"config_groups": {"a": {"weights": WEIGHTS | {"type": "float"}}}}, "float of 4 bits"),
        (CT | {"config_groups": {"a": {"weights": WEIGHTS | {"strategy": "block"}}}}, "scales by block"),
        (CT | {"config_groups": 3}, "0 groups of layers"),
    ],
)
def test_variants_that_are_not_known_are_named(config, reason, tmp_path):
    with pytest.raises(UnsupportedError, match=reason):
        names = ("x.qweight", "x.weight_scale", "x_blocks")
        opened(tmp_path, {name: np.ones((2, 2), np.float32) for name in names}, config)


def test_groups_that_kernels_do_not_know_are_refused(tmp_path):
    codes, zeros, scales = random_codes(8, 96, 48)
    tensors = opened(tmp_path, awq("x", codes, zeros, scales), AWQ | {"group_size": 48})
    with pytest.raises(UnsupportedError, match="groups of 48"):
        tensors.read("x.weight")


def test_broken_checkpoints_are_errors_in_one_sentence(tmp_path):
    codes, zeros, scales = random_codes(8, 64, 32)
    good = gptq("x", codes, zeros, scales, np.arange(64) // 32)
    for changes, reason in (
        ({"x.scales": scales[:1].T.copy()}, "has the shape"),
        ({"x.qzeros": good["x.qzeros"][:1]}, "has the shape"),
        ({"x.g_idx": np.full(64, 7, np.int32)}, "impossible"),
        ({"x.g_idx": np.full(3, 0, np.int32)}, "not I32 .64"),
        ({"x.g_idx": np.zeros(64, np.float32)}, "not I32"),
        ({"x.qweight": good["x.qweight"].astype(np.float32)}, "not integers"),
        ({"x.qweight": good["x.qweight"].reshape(-1)}, "1 dimensions"),
    ):
        with pytest.raises(FormatError, match=reason):
            opened(tmp_path, good | changes, GPTQ).read("x.weight")
    with pytest.raises(FormatError, match="has only codes"):
        opened(tmp_path, {"x.qweight": good["x.qweight"]}, GPTQ)
    with pytest.raises(FormatError, match=r"group_size .* not a size"):
        opened(tmp_path, good, GPTQ | {"group_size": "32"})
    with pytest.raises(FormatError, match="no scales that fit"):
        opened(tmp_path, {"x_blocks": np.zeros((2, 3, 16), np.uint8)}, {"quant_method": "mxfp4"})
