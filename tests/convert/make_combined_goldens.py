"""Records what PEFT's `add_weighted_adapter` makes of two adapters, as the change of every weight.

PYTHONPATH=src:tests/convert python tests/convert/make_combined_goldens.py
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from combined_cases import CASES, adapters, base
from peft import PeftModel
from transformers import LlamaConfig, LlamaForCausalLM

from fairway.formats.lora_peft import write_peft


def main() -> None:
    bundle = base()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for adapter in adapters(bundle):
            write_peft(adapter, Path(folder) / adapter.name)
        for name, (combination, weights) in CASES.items():
            model = LlamaForCausalLM(LlamaConfig(**{**bundle.config, "torch_dtype": "float32"}))
            wrapped = PeftModel.from_pretrained(model, Path(folder) / "first", adapter_name="first")
            wrapped.load_adapter(Path(folder) / "second", adapter_name="second")
            wrapped.add_weighted_adapter(["first", "second"], list(weights), "both", combination)
            for key, module in wrapped.named_modules():
                if hasattr(module, "get_delta_weight"):
                    layer = key.removeprefix("base_model.model.")
                    with torch.no_grad():
                        found[f"{name}/{layer}"] = module.get_delta_weight("both").numpy()
    path = Path(__file__).parent / "goldens" / "peft-combined.npz"
    np.savez_compressed(path, **found)
    print(len(found), path.stat().st_size)


if __name__ == "__main__":
    main()
