"""Writes small sound files to begin fuzzing with: `python make_seeds.py FOLDER` makes FOLDER/READER/NAME.

The files are those of the other tests: laid out by hand, or written by PyTorch once and kept.
"""

from __future__ import annotations

import json
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / "formats"), str(TESTS / "convert")]

import onnx_bytes  # noqa: E402  (needs the path above)
from format_models import GGUF_METADATA  # noqa: E402
from gguf_layout import gguf_layout, with_key  # noqa: E402
from hostile_safetensors import safetensors_bytes, safetensors_header  # noqa: E402
from torch_zips import torch_zip  # noqa: E402

from fairway.formats.gguf_types import TYPES  # noqa: E402
from fairway.formats.gguf_writer import gguf_data, write_gguf  # noqa: E402

ARCHITECTURES = ("llama", "gpt2", "gemma2", "qwen2", "phi3")


def gguf_seeds(folder: Path) -> None:
    """Two versions, a tensor of every type, and the families whose names or rows differ."""
    for version in (2, 3):
        (folder / f"version{version}").write_bytes(gguf_layout(version).data)
    (folder / "array").write_bytes(
        with_key(gguf_layout(), "llama.array", 9, struct.pack("<IQ3H", 2, 3, 1, 2, 3))
    )
    random = np.random.default_rng(1)
    for kind in TYPES.values():
        if kind.is_readable:
            size = 2 * 256 // kind.block_size * kind.block_bytes
            raw = random.integers(0, 60, size, np.uint8)
            data = {"blk.0.attn_q.weight": gguf_data(kind.name, (2, 256), raw)}
            write_gguf(folder / kind.name, {"general.architecture": "llama"}, data)
    for family in ARCHITECTURES:
        metadata = {key.replace("llama.", f"{family}."): value for key, value in GGUF_METADATA.items()}
        names = ("blk.0.attn_q.weight", "blk.0.attn_qkv.weight", "output_norm.weight", "rope_freqs.weight")
        data = {name: gguf_data("F32", (8, 8), np.ones(64, np.float32)) for name in names}
        write_gguf(folder / family, metadata | {"general.architecture": family}, data)


def safetensors_seeds(folder: Path) -> None:
    (folder / "types").write_bytes(safetensors_bytes(safetensors_header()))
    one = {"\u00e9": {"dtype": "F8_E4M3", "shape": [1, 2, 3], "data_offsets": [0, 6]}}
    (folder / "one").write_bytes(safetensors_bytes(one, bytes(6)))
    (folder / "none").write_bytes(safetensors_bytes({}, b""))
    escaped = json.dumps({"__metadata__": {"a": "\u2603 \\"}}).encode()
    (folder / "escaped").write_bytes(safetensors_bytes(escaped, b""))


def pickle_seeds(folder: Path) -> None:
    for path in (TESTS / "formats" / "data" / "torch").iterdir():
        if path.suffix in (".pt", ".bin", ".pth"):
            (folder / path.name).write_bytes(path.read_bytes())
    torch_zip(folder / "by-hand", {"a.weight": np.ones((2, 3), np.float32), "b": np.ones(4, np.float32)})
    for path in sorted(folder.iterdir()):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                [name] = [each for each in archive.namelist() if each.endswith("data.pkl")]
                (folder / f"{path.stem}.pkl").write_bytes(archive.read(name))


def onnx_seeds(folder: Path) -> None:
    make = onnx_bytes
    weights = [
        make.tensor("w", [2, 2], 1, make.field(9, struct.pack("<4f", 1, 2, 3, 4))),
        make.tensor("list", [3], 7, make.field(7, b"\x01\x02\x03")),
        make.tensor("text", [2], 8, make.field(6, "one"), make.field(6, "two")),
        make.tensor("half", [2], 10, make.field(5, b"\x80\x78\x01")),
    ]
    ports = [make.port("x", 1, "batch", 2)], [make.port("y", 1, "batch", 2)]
    alpha = make.field(1, "alpha") + make.field(2, 0.5) + make.field(20, 1)
    branch = make.field(1, "then_branch") + make.field(6, make.graph([make.node("Neg", ["x"], ["z"])]))
    nodes = [
        make.node("Gemm", ["x", "w"], ["y"], alpha, name="first"),
        make.node("If", ["c"], ["y"], branch, domain="ai.onnx"),
    ]
    (folder / "model").write_bytes(make.model(make.graph(nodes, weights, *ports)))
    (folder / "empty").write_bytes(make.model(make.graph()))
    beside = make.tensor("far", [2], 1, make.external("model.onnx", offset=0, length=8))
    (folder / "beside").write_bytes(make.model(make.graph([], [beside])))


SEEDS = {"gguf": gguf_seeds, "safetensors": safetensors_seeds, "pickle": pickle_seeds, "onnx": onnx_seeds}


def main() -> None:
    for reader, write in SEEDS.items():
        folder = Path(sys.argv[1]) / reader
        folder.mkdir(parents=True, exist_ok=True)
        write(folder)
        print(f"{folder}: {len(list(folder.iterdir()))} files")


if __name__ == "__main__":
    main()
