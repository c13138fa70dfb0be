"""Records the types that llama.cpp's llama-quantize gives, so that the tests need no llama.cpp.

Run by hand: `PYTHONPATH=src python tests/quantize/make_mixes.py LLAMA_QUANTIZE`. Writes data/mixes.json: of
every model and mix, the types of a tensor in the order of the layers, as "4 x Q6_K, 2 x Q4_K", and the
tensors that have them.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from functools import partial
from itertools import groupby
from math import prod
from pathlib import Path

from mix_models import MODELS, MixModel

from fairway.formats.gguf_writer import GgufData, MetadataValue, write_gguf
from fairway.quantize.mixes import MIXES

GOLDENS = Path(__file__).parent / "data" / "mixes.json"
LINE = re.compile(r"^\[ *\d+/ *\d+\] (\S+) +- \[.*\], type = +(\w+),.*?(?:\((\w+)\))?$", re.MULTILINE)


def write_model(model: MixModel, path: Path) -> None:
    """All zeros: only names and shapes matter."""
    facts = model.facts
    sizes = {
        "block_count": facts.num_layers,
        "context_length": 128,
        "embedding_length": model.hidden,
        "feed_forward_length": model.feed_forward,
        "attention.head_count": facts.num_heads,
        "attention.head_count_kv": facts.num_kv_heads,
        "rope.dimension_count": model.head_size,
        "vocab_size": 288,
    }
    if facts.num_experts:
        sizes |= {"expert_count": facts.num_experts, "expert_used_count": 2}
    metadata: dict[str, MetadataValue] = {
        "general.architecture": facts.architecture,
        "tokenizer.ggml.model": "none",
    }
    metadata |= {f"{facts.architecture}.{key}": value for key, value in sizes.items()}
    metadata[f"{facts.architecture}.attention.layer_norm_rms_epsilon"] = 1e-5
    tensors = {
        name: GgufData("F32", shape, partial(zeros, 4 * prod(shape))) for name, shape in model.tensors.items()
    }
    write_gguf(path, metadata, tensors)


def zeros(size: int) -> list[bytes]:
    return [bytes(size)]


def types(program: str, path: Path, mix: str) -> dict[str, str]:
    run = subprocess.run([program, "--dry-run", str(path), mix], capture_output=True, text=True, check=True)
    found = {name: (new or old).upper() for name, old, new in LINE.findall(run.stdout + run.stderr)}
    assert found, run.stderr[-2000:]
    return found


def in_short(found: dict[str, str]) -> dict[str, str]:
    """Names by their types: those of a tensor in all layers as one name and one list of types."""
    lists: dict[str, list[tuple[int, str]]] = {}
    for name, kind in found.items():
        layer = re.match(r"blk\.(\d+)\.", name)
        stem = re.sub(r"blk\.\d+\.", "", name).removesuffix(".weight")
        lists.setdefault(stem, []).append((int(layer.group(1)) if layer else 0, kind))
    stems: dict[str, list[str]] = {}
    for stem, kinds in sorted(lists.items()):
        stems.setdefault(runs([kind for _, kind in sorted(kinds)]), []).append(stem)
    return {kinds: " ".join(names) for kinds, names in stems.items()}


def runs(kinds: list[str]) -> str:
    counted = [(len(list(same)), kind) for kind, same in groupby(kinds)]
    return ", ".join(f"{count} x {kind}" for count, kind in counted)


def main() -> None:
    goldens: dict[str, dict[str, dict[str, str]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, model in MODELS.items():
            path = Path(folder) / "model.gguf"
            write_model(model, path)
            goldens[name] = {mix: in_short(types(sys.argv[1], path, mix)) for mix in MIXES}
    GOLDENS.write_text(json.dumps(goldens, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
