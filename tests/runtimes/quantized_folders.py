"""The built-in model as AWQ, GPTQ and compressed-tensors hold it, written apart from the readers."""

import json
import shutil
from pathlib import Path

import numpy as np

import fairway
from fairway.formats.safetensors import open_safetensors
from fairway.formats.safetensors_writer import tensor_data, write_safetensors
from fairway.models.conversion import floats_of

BUILTIN = Path(fairway.__file__).parent / "builtin"
GROUP = 64
AWQ_PLACES = (0, 2, 4, 6, 1, 3, 5, 7)


def rounded(weights):
    """Four bits with a zero per group: codes, zeros and scales as the checkpoints hold them."""
    grouped = weights.reshape(len(weights), -1, GROUP)
    low, high = np.minimum(grouped.min(2), 0), np.maximum(grouped.max(2), 0)
    scales = np.maximum((high - low) / 15, 1e-6).astype(np.float16)
    zeros = np.clip(np.rint(-low / scales), 0, 15).astype(np.int64)
    codes = np.clip(np.rint(grouped / scales[:, :, None]) + zeros[:, :, None], 0, 15).astype(np.int64)
    return codes.reshape(weights.shape), zeros, scales


def packed(values, places):
    words = np.zeros((len(values), values.shape[1] // 8), np.uint32)
    for nibble, place in enumerate(places):
        words |= values[:, place::8].astype(np.uint32) << np.uint32(4 * nibble)
    return words.view(np.int32)


def stored_by(method, name, codes, zeros, scales):
    if method == "compressed-tensors":
        return compressed(name, codes, zeros, scales)
    if method == "awq":
        weights = {"qweight": packed(codes.T, AWQ_PLACES), "qzeros": packed(zeros.T, AWQ_PLACES)}
    else:
        in_order = tuple(range(8))
        weights = {
            "qweight": packed(codes, in_order).T.copy(),
            "qzeros": packed(((zeros - 1) % 16).T, in_order),
        }
    return {f"{name}.{key}": value for key, value in (weights | {"scales": scales.T.copy()}).items()}


def compressed(name, codes, zeros, scales):
    in_order = tuple(range(8))
    weights = {
        "weight_packed": packed(codes, in_order),
        "weight_scale": scales,
        "weight_zero_point": packed(zeros.T, in_order).T.copy(),
        "weight_shape": np.array(codes.shape, np.int64),
    }
    return {f"{name}.{key}": value for key, value in weights.items()}


def stated(method):
    """The quantization_config."""
    if method == "compressed-tensors":
        weights = {"num_bits": 4, "type": "int", "strategy": "group", "group_size": GROUP, "symmetric": False}
        groups = {"group_0": {"format": "pack-quantized", "weights": weights}}
        return {"quant_method": method, "config_groups": groups}
    return {"quant_method": method, "bits": 4, "group_size": GROUP, "sym": False, "zero_point": True}


def quantized_builtin(method: str, root: Path) -> Path:
    """The built-in model quantised so in root/short, and the same weights in float32 in root/wide."""
    source = open_safetensors(BUILTIN / "model.safetensors")
    short, wide = {}, {}
    for name in source.infos:
        values = floats_of(source.read(name))
        if "_proj" in name:
            codes, zeros, scales = rounded(values)
            short |= stored_by(method, name.removesuffix(".weight"), codes, zeros, scales)
            per_column = np.arange(values.shape[1]) // GROUP
            wide[name] = (scales[:, per_column] * np.float32(1) * (codes - zeros[:, per_column])).astype(
                np.float32
            )
        else:
            short[name] = wide[name] = values
    for kind, tensors in (("short", short), ("wide", wide)):
        shutil.copytree(BUILTIN, root / kind)
        write_safetensors(root / kind / "model.safetensors", {k: tensor_data(v) for k, v in tensors.items()})
    config = json.loads((BUILTIN / "config.json").read_text())
    (root / "short" / "config.json").write_text(json.dumps(config | {"quantization_config": stated(method)}))
    return root
