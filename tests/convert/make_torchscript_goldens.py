"""Records small TorchScript archives and their tensors: `python tests/convert/make_torchscript_goldens.py`.

Needs torch; the files it writes do not.
"""

import io
import zipfile
from pathlib import Path

import numpy as np
import torch

GOLDENS = Path(__file__).parent / "goldens" / "torchscript"


class Network(torch.nn.Module):
    """A convolution, a list of layers, a shared weight, a buffer and attributes that are no tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 4, 3)
        self.layers = torch.nn.ModuleList([torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)])
        self.norm = torch.nn.LayerNorm(4)
        self.register_buffer("shift", torch.arange(4.0))
        self.sizes, self.scale = [1, 2], 2.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x).mean((2, 3)) * self.scale
        for layer in self.layers:
            x = layer(x)
        return self.norm(x) + self.shift


def save(program: torch.jit.ScriptModule, name: str) -> None:
    """Without the places in source files, which are those of this machine."""
    whole = io.BytesIO()
    torch.jit.save(program, whole)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(GOLDENS / f"{name}.pt", "w") as new:
        for entry in old.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                new.writestr(entry.filename, old.read(entry))


if __name__ == "__main__":
    GOLDENS.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    model = Network().eval()
    save(torch.jit.script(model), "scripted")
    save(torch.jit.trace(model, torch.zeros(1, 1, 8, 8)), "traced")
    np.savez_compressed(GOLDENS / "state_dict.npz", **{k: v.numpy() for k, v in model.state_dict().items()})
