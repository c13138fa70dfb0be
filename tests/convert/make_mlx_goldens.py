"""Writes ../formats/data/mlx/: groups that MLX quantised, a model that mlx-lm quantised, and its answer.

    PYTHONPATH=src python tests/convert/make_mlx_goldens.py

Made with mlx 0.32.4 (its CPU build for Linux) and mlx-lm 0.32.2.
"""

import json
import shutil
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx_lm.utils import load_model, quantize_model, save_config, save_model

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / name) for name in ("models", "text", "convert")]

from model_folders import make_folder  # noqa: E402  (needs the path above)

OUT = HERE.parent / "formats" / "data" / "mlx"
KINDS = [
    (4, 32, "float32"),
    (4, 64, "bfloat16"),
    (4, 128, "float16"),
    (8, 32, "bfloat16"),
    (8, 64, "float16"),
]
KINDS += [(bits, 64, "bfloat16") for bits in (2, 3, 5, 6)]
PROMPT = [400, 5, 9, 17, 33, 65, 129]
NUM_TOKENS = 32


def groups():
    """Rows with a group of zeros, one of equal numbers, and one that is all above zero."""
    weight = np.random.RandomState(0).standard_normal((6, 128)).astype(np.float32)
    weight[1], weight[2], weight[3] = 0, 0.25, np.abs(weight[3]) + 1
    for bits, group, kind in KINDS:
        given = mx.array(weight).astype(getattr(mx, kind))
        codes, scales, biases = mx.quantize(given, group_size=group, bits=bits)
        wide = scales.astype(mx.float32), biases.astype(mx.float32)
        found = mx.dequantize(codes, *wide, group_size=group, bits=bits)
        tensors = {
            "given": given,
            "x.weight": codes,
            "x.scales": scales,
            "x.biases": biases,
            "expected": found,
        }
        mx.save_safetensors(str(OUT / f"{bits}-{group}-{kind}.safetensors"), tensors)


def model():
    """Layers of four bits and a head of eight."""
    plain = make_folder(OUT / "plain")
    network, config = load_model(plain)
    network, config = quantize_model(network, config, 32, 4, quant_predicate=_chosen)
    folder = OUT / "tiny"
    save_model(folder, network)
    save_config(config, folder / "config.json")
    shutil.rmtree(plain)
    tokens = list(PROMPT)
    while len(tokens) < NUM_TOKENS:
        tokens.append(int(network(mx.array([tokens]))[0, -1].argmax()))
    logits = np.array(network(mx.array([tokens]))[0].astype(mx.float32))
    np.save(folder / "logits.npy", logits)
    (folder / "tokens.json").write_text(json.dumps(tokens) + "\n")


def _chosen(path, _):
    return {"group_size": 64, "bits": 8} if path == "lm_head" else True


if __name__ == "__main__":
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    groups()
    model()
