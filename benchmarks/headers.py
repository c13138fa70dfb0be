"""How long the header of a large ONNX graph takes: `python benchmarks/headers.py [--layers 80]`.

Makes the graphs of decoders with the shapes of 70 B models and weights that take no space, and reads them as
`fairway inspect` does: every node, port and tensor, no number. Milliseconds: the least and the median.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from fairway.convert.onnx_decoder import decoder_graph, weight_shapes
from fairway.convert.onnx_graph import weights_layout
from fairway.formats.bundle import TensorInfo
from fairway.formats.onnx import open_onnx
from fairway.models.families import read_config

SHAPE = {
    "hidden_size": 8192, "num_attention_heads": 64, "num_key_value_heads": 8, "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5, "tie_word_embeddings": False,
}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"intermediate_size": 28_672, "vocab_size": 128_256, "rope_theta": 500_000.0},
    "qwen2": {"intermediate_size": 29_568, "vocab_size": 152_064, "rope_theta": 1_000_000.0},
}


def write_graph(folder: Path, family: str, layers: int) -> Path:
    """The graph as it would be converted; the file of its weights has a size and no content."""
    config = read_config(SHAPE | FAMILIES[family] | {"model_type": family, "num_hidden_layers": layers})
    shapes = weight_shapes(config)
    infos = {name: TensorInfo(name, "F16", shape, 0) for name, shape in shapes.items()}
    infos = {name: TensorInfo(name, "F16", each.shape, 2 * each.num_elements) for name, each in infos.items()}
    layout = weights_layout(infos)
    path = folder / f"{family}.onnx"
    with (folder / f"{family}.data").open("wb") as file:
        file.truncate(layout.size)
    graph = decoder_graph(config, dict.fromkeys(shapes, "F16"))
    path.write_bytes(graph.to_bytes(family, infos, layout, f"{family}.data"))
    return path


def measured(path: Path, rounds: int) -> tuple[int, float, float]:
    """Nodes, and the least and the median of milliseconds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        model = open_onnx(path)
        times.append(1e3 * (time.perf_counter() - start))
    return model.num_nodes, min(times), statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for family in FAMILIES:
            path = write_graph(Path(folder), family, options.layers)
            nodes, least, median = measured(path, options.rounds)
            print(
                f"{family}, {options.layers} layers, {nodes:,} nodes: {least:.1f} ms, median {median:.1f} ms"
            )


if __name__ == "__main__":
    main()
