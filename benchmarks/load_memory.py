"""Memory while a checkpoint is loaded: how far its peak lies above the packed weights.

Writes a random model as bf16 safetensors, as float32 in four shards and as a Q8_0 GGUF, and loads each in a
process of its own. Counted is memory that is the process's own (RssAnon, sampled) and, as an upper bound,
everything it has mapped at once, pages of files among it (VmHWM); both above what imports take.

    python benchmarks/load_memory.py --folder /tmp/load-memory
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fairway.formats.gguf_names import to_gguf
from fairway.formats.gguf_writer import GgufData, write_gguf
from fairway.formats.safetensors_writer import TensorData, write_safetensors
from fairway.models.families import read_config
from fairway.models.random import QWEN2_5_0_5B, RandomTensors, random_bundle
from fairway.tensors import DenseTensor, GroupedTensor

SOURCES = ("bf16", "f32", "q8_0")
NUM_SHARDS = 4
SAMPLE_S = 0.001
MB = 1e6


def write_checkpoint(folder: Path, source: str, config: Mapping[str, Any]) -> Path:
    """What `fairway` would be given: a folder, or a .gguf file. Left alone if it is there."""
    path = folder / (f"{source}.gguf" if source == "q8_0" else source)
    if path.exists():
        return path
    partial = folder / f"{source}.partial"
    if source == "q8_0":
        _write_gguf(partial, config)
    else:
        _write_shards(partial, config, source)
    return partial.rename(path)


def _write_shards(folder: Path, config: Mapping[str, Any], kind: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tensors = random_bundle(config, kind).tensors
    place = {name: f"model-{i % NUM_SHARDS}.safetensors" for i, name in enumerate(tensors.infos)}
    for shard in dict.fromkeys(place.values()):
        names = [name for name in place if place[name] == shard]
        write_safetensors(folder / shard, {name: _dense(tensors, name) for name in names})
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": place}), "utf-8")
    (folder / "config.json").write_text(json.dumps(dict(config)), "utf-8")


def _dense(tensors: RandomTensors, name: str) -> TensorData:
    def chunks() -> Iterator[memoryview]:
        yield tensors.read(name).values.reshape(-1).data.cast("B")

    return TensorData(tensors.infos[name].type, tensors.infos[name].shape, chunks)


def _write_gguf(path: Path, config: Mapping[str, Any]) -> None:
    name, tensors = config["model_type"], random_bundle(config, "int8").tensors
    sizes = {
        "block_count": config["num_hidden_layers"],
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": config["num_attention_heads"],
        "attention.head_count_kv": config["num_key_value_heads"],
        "vocab_size": config["vocab_size"],
        "attention.layer_norm_rms_epsilon": config["rms_norm_eps"],
        "rope.freq_base": config["rope_theta"],
    }
    metadata = {"general.architecture": name} | {f"{name}.{key}": value for key, value in sizes.items()}
    data = {to_gguf(name, each): _blocks(tensors, each) for each in tensors.infos}
    write_gguf(path, metadata, data)


def _blocks(tensors: RandomTensors, name: str) -> GgufData:
    info = tensors.infos[name]

    def chunks() -> list[bytes]:
        tensor = tensors.read(name)
        if isinstance(tensor, DenseTensor):
            return [tensor.values.tobytes()]
        assert isinstance(tensor, GroupedTensor)
        scales = tensor.scales.astype(np.float16).reshape(-1, 1).view(np.uint8)
        return [np.concatenate([scales, tensor.values.reshape(-1, 32).view(np.uint8)], axis=1).tobytes()]

    return GgufData("F32" if info.type == "F32" else "Q8_0", info.shape, chunks)


class Sampler:
    """The highest RssAnon while it runs, in bytes."""

    def __init__(self) -> None:
        self.peak = anonymous_bytes()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self.peak = max(self.peak, anonymous_bytes())

    def _watch(self) -> None:
        while not self._ended.is_set():
            self.peak = max(self.peak, anonymous_bytes())
            time.sleep(SAMPLE_S)


def anonymous_bytes() -> int:
    return _status("RssAnon")


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{field}:"))


def load_once(path: str, weight_type: str, cache: str | None) -> dict[str, float]:
    """In this process: megabytes of packed weights, of the peaks above them, and held at the end."""
    from fairway.formats.open import open_bundle
    from fairway.kernels.select import select_backend
    from fairway.models.loader import load_model
    from fairway.models.packed_cache import PackedCache

    kept = None if cache is None else PackedCache(Path(cache), 1 << 40, smallest_bytes=0)
    backend, bundle = select_backend(), open_bundle(path, complete=False)
    before, mapped_before = anonymous_bytes(), _status("VmHWM")
    start = time.perf_counter()
    with Sampler() as sampler:
        model = load_model(bundle, backend, weight_type=weight_type, cache=kept)
    seconds = time.perf_counter() - start
    held = anonymous_bytes() - before
    packed = model.weight_bytes
    return {
        "packed": packed / MB,
        "own above packed": (sampler.peak - before - packed) / MB,
        "all above packed": (_status("VmHWM") - mapped_before - packed) / MB,
        "own at the end": held / MB,
        "seconds": seconds,
    }


def loaded(path: Path, weight_type: str, cache: Path | None = None) -> dict[str, float]:
    """The same in a fresh process."""
    words = [sys.executable, __file__, "--one", str(path), weight_type, *([str(cache)] if cache else [])]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(load_once(*(*sys.argv[2:], None)[:3])))
        return
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--folder", type=Path, help="where models are written, to be kept")
    parser.add_argument("--layers", type=int, default=QWEN2_5_0_5B["num_hidden_layers"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        config = dict(QWEN2_5_0_5B) | {"num_hidden_layers": args.layers}
        read_config(config)
        for source in SOURCES:
            path = write_checkpoint(folder, source, config)
            for weight_type in ("stored", "int8", "int4"):
                for name, cache in (
                    ("no cache", None),
                    ("packed and kept", folder / "c"),
                    ("mapped", folder / "c"),
                ):
                    row = loaded(path, weight_type, cache)
                    figures = ", ".join(f"{key} {value:.1f}" for key, value in row.items())
                    print(f"{source} as {weight_type}, {name}: {figures}", flush=True)


if __name__ == "__main__":
    main()
