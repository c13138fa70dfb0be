"""Records bitsandbytes' NF4: codes, scales and what they mean, with and without double quantisation.

PYTHONPATH=src python tests/tune/make_bitsandbytes_goldens.py        made with bitsandbytes 0.50.2
"""

from pathlib import Path

import numpy as np
import torch
from bitsandbytes import functional
from four_bit_cases import SHAPES, matrix


def record() -> dict[str, np.ndarray]:
    found = {
        "nf4": functional.get_4bit_type("nf4", device="cpu").numpy(),
        "dynamic map": functional.create_dynamic_map().numpy(),
    }
    for name in SHAPES:
        for kind, is_double in (("single", False), ("double", True)):
            packed, state = functional.quantize_4bit(
                torch.from_numpy(matrix(name)), quant_type="nf4", compress_statistics=is_double
            )
            found[f"{name}/{kind}/codes"] = packed.flatten().numpy()
            found[f"{name}/{kind}/values"] = functional.dequantize_4bit(packed, state).numpy()
    return found


if __name__ == "__main__":
    np.savez_compressed(Path(__file__).parent / "goldens" / "bitsandbytes-nf4.npz", **record())
