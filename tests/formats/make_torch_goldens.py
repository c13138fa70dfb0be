"""Writes small files with PyTorch itself, so that the tests of their reader need no PyTorch.

Run by hand: `python tests/formats/make_torch_goldens.py`, with torch installed (the dependency group
`parity`). Writes data/torch/*.pt and data/torch/values.json with the tensors that each holds.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path

import torch

DATA = Path(__file__).parent / "data" / "torch"


def contents() -> dict[str, tuple[object, bool]]:
    """File name -> what is saved, and whether as a zip archive."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(5, 3)
    weight = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    shared = torch.arange(10, dtype=torch.float32)
    mixed = {
        "f32": weight, "f16": weight.half() / 7, "bf16": weight.bfloat16() / 7, "f64": weight.double(),
        "i64": torch.arange(3), "u8": torch.arange(3, dtype=torch.uint8), "flag": torch.tensor([True, False]),
        "scalar": torch.tensor(2.5), "empty": torch.empty(0, 4),
    }  # fmt: skip
    views = {
        "turned": weight.T,
        "rows": weight[1:3],
        "every_second": shared[1::2],
        "tied_a": shared,
        "tied_b": shared,
    }
    training = {
        "epoch": 3, "loss": 0.25, "done": False, "name": "run", "none": None, "sizes": (1, 2), "set": {1, 2},
        "model": layer.state_dict(), "optimizer": {"state": {0: {"step": torch.tensor(4.0)}}, "lr": [1e-3]},
    }  # fmt: skip
    return {
        "mixed.pt": (mixed, True),
        "mixed-legacy.pt": (mixed, False),
        "views.pt": (views, True),
        "views-legacy.pt": (views, False),
        "state-dict.pt": (layer.state_dict(), True),
        "parameters.pt": (OrderedDict(layer.named_parameters()), True),
        "training.pt": (training, True),
        "module.pt": (layer, True),
    }


def values_of(value: object, path: str = "") -> dict[str, object]:
    if isinstance(value, torch.Tensor):
        exact = value.detach().view(torch.int16) if value.dtype is torch.bfloat16 else value.detach()
        return {path: {"shape": list(value.shape), "values": exact.reshape(-1).tolist()}}
    if not isinstance(value, dict):
        return {}
    found = {}
    for key, item in value.items():
        found |= values_of(item, f"{path}.{key}" if path else str(key))
    return found


def main() -> None:
    DATA.mkdir(parents=True, exist_ok=True)
    goldens = {}
    for name, (value, as_zip) in contents().items():
        torch.save(value, DATA / name, _use_new_zipfile_serialization=as_zip)
        weights = value["model"] if name == "training.pt" else value
        goldens[name] = values_of(weights)
    (DATA / "values.json").write_text(json.dumps(goldens, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
