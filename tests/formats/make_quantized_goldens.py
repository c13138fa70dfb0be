"""Writes data/quantized/: weights packed by compressed-tensors, MXFP4 blocks, and what their libraries read.

    python tests/formats/make_quantized_goldens.py

Made with torch 2.13.0, compressed-tensors 0.20.0 and transformers 5.23.0.
"""
# ruff: noqa: E501 (tables)

import json
import shutil
from pathlib import Path

import torch
from compressed_tensors.compressors.naive_quantized.base import IntQuantizationCompressor
from compressed_tensors.compressors.pack_quantized.base import PackedQuantizationCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from compressed_tensors.quantization.utils import calculate_qparams
from safetensors.torch import save_file
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

OUT = Path(__file__).parent / "data" / "quantized"
KINDS = {
    "int4-group32": ("pack-quantized", {"num_bits": 4, "strategy": "group", "group_size": 32, "symmetric": True}),
    "int4-group64-zeros": ("pack-quantized", {"num_bits": 4, "strategy": "group", "group_size": 64, "symmetric": False}),
    "int4-channel": ("pack-quantized", {"num_bits": 4, "strategy": "channel", "symmetric": True}),
    "int8-channel": ("int-quantized", {"num_bits": 8, "strategy": "channel", "symmetric": True}),
    "int8-group-zeros": ("int-quantized", {"num_bits": 8, "strategy": "group", "group_size": 128, "symmetric": False}),
}  # fmt: skip


def ranges(weight, args):
    """Smallest and largest of every group."""
    groups = weight if args.strategy != "group" else weight.reshape(len(weight), -1, args.group_size)
    low, high = groups.amin(-1), groups.amax(-1)
    return (low, high) if args.strategy == "group" else (low[:, None], high[:, None])


def compressed(name, form, stated, columns=128):
    args = QuantizationArgs(type="int", **stated)
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    weight = torch.randn(24, columns, generator=torch.Generator().manual_seed(len(name)))
    scale, zero = calculate_qparams(*ranges(weight, args), args)
    state = {"weight": weight, "weight_scale": scale.to(torch.bfloat16)}
    if not args.symmetric:
        state["weight_zero_point"] = zero
    tool = PackedQuantizationCompressor if form == "pack-quantized" else IntQuantizationCompressor
    packed = tool.compress(state, scheme)
    expected = tool.decompress(
        {k: v.float() if k == "weight_scale" else v for k, v in packed.items()}, scheme
    )
    tensors = {f"x.{key}": value.contiguous() for key, value in packed.items()}
    config = {
        "quant_method": "compressed-tensors",
        "format": form,
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": json.loads(args.model_dump_json())}},
        "ignore": ["lm_head"],
    }
    return tensors | {"expected": expected["weight"].float().contiguous()}, config


def experts():
    numbers = torch.Generator().manual_seed(0)
    blocks = torch.randint(0, 256, (2, 8, 3, 16), generator=numbers, dtype=torch.uint8)
    scales = torch.randint(110, 140, (2, 8, 3), generator=numbers, dtype=torch.uint8)
    expected = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
    tensors = {"x_blocks": blocks, "x_scales": scales, "expected": expected.transpose(1, 2).contiguous()}
    return tensors, {"quant_method": "mxfp4"}


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    made = {name: compressed(name, *kind) for name, kind in KINDS.items()}
    made["int4-odd"] = compressed("int4-odd", "pack-quantized", KINDS["int4-channel"][1], columns=44)
    made["mxfp4"] = experts()
    for name, (tensors, config) in made.items():
        save_file(tensors, OUT / f"{name}.safetensors")
        (OUT / f"{name}.json").write_text(json.dumps(config, indent=1) + "\n")


if __name__ == "__main__":
    main()
