"""Records what the gguf package (llama.cpp's own) says, so that the tests need no such package.

Run by hand: `python tests/formats/make_goldens.py`, with gguf installed. Writes data/blocks.json
(random blocks of every quantised type and their float32 values) and data/names.json (tensor names).
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import gguf
import numpy as np

from fairway.formats.gguf_names import LAYER_NAMES
from fairway.formats.gguf_types import TYPES, GgmlType

DATA = Path(__file__).parent / "data"
HUGGING_FACE = {
    "llama": "self_attn.q_proj self_attn.k_proj self_attn.v_proj self_attn.o_proj mlp.gate_proj mlp.up_proj "
    "mlp.down_proj input_layernorm post_attention_layernorm",
    "phi3": "self_attn.qkv_proj self_attn.o_proj mlp.gate_up_proj mlp.down_proj input_layernorm "
    "post_attention_layernorm",
    "gpt2": "ln_1 attn.c_attn attn.c_proj ln_2 mlp.c_fc mlp.c_proj",
}
HUGGING_FACE["granite"] = HUGGING_FACE["qwen2"] = HUGGING_FACE["llama"]
HUGGING_FACE["qwen3"] = HUGGING_FACE["llama"] + " self_attn.q_norm self_attn.k_norm"
HUGGING_FACE["gemma2"] = HUGGING_FACE["llama"] + " pre_feedforward_layernorm post_feedforward_layernorm"
HUGGING_FACE["gemma3"] = HUGGING_FACE["gemma2"] + " self_attn.q_norm self_attn.k_norm"
HUGGING_FACE["olmo2"] = HUGGING_FACE["qwen3"].replace(" input_layernorm", "") + " post_feedforward_layernorm"


def block_goldens(kind: GgmlType, dice: np.random.Generator) -> dict[str, str]:
    """Random bytes are valid blocks of every type; scales that are not finite are drawn again."""
    count = 16 if kind.block_size == 32 else 2
    while True:
        raw = dice.integers(0, 256, (1, count * kind.block_bytes), dtype=np.uint8)
        with np.errstate(invalid="ignore"):
            values = gguf.quants.dequantize(raw, gguf.GGMLQuantizationType(kind.id)).astype("<f4")
        if np.isfinite(values).all():
            return {
                "blocks": base64.b64encode(raw.tobytes()).decode(),
                "values": base64.b64encode(values.tobytes()).decode(),
            }


def name_goldens(architecture: str) -> dict[str, str]:
    arch = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    table = gguf.get_tensor_name_map(arch, 20)
    prefix, outer = "model.layers", ["model.embed_tokens", "model.norm", "lm_head"]
    if architecture == "gpt2":
        prefix, outer = "transformer.h", ["transformer.wte", "transformer.wpe", "transformer.ln_f", "lm_head"]
    stems = [f"{prefix}.{layer}.{stem}" for layer in (0, 17) for stem in HUGGING_FACE[architecture].split()]
    found = {f"{stem}.weight": table.get_name(f"{stem}.weight", (".weight",)) for stem in outer + stems}
    return {hf: name for hf, name in found.items() if name is not None}


def main() -> None:
    DATA.mkdir(exist_ok=True)
    dice = np.random.default_rng(2024)
    blocks = {kind.name: block_goldens(kind, dice) for kind in TYPES.values() if kind.decode}
    names = {architecture: name_goldens(architecture) for architecture in LAYER_NAMES}
    source = f"gguf {__import__('importlib.metadata').metadata.version('gguf')}"
    (DATA / "blocks.json").write_text(json.dumps({"source": source, "types": blocks}, indent=1) + "\n")
    (DATA / "names.json").write_text(json.dumps({"source": source, "architectures": names}, indent=1) + "\n")


if __name__ == "__main__":
    main()
