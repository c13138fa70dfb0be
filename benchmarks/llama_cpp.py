"""llama.cpp beside the native kernels: same shape, same machine, taking turns, medians and ratios.

Builds llama.cpp natively from the source archive of llama-cpp-python (once, into a cache folder),
writes a random-weight GGUF of Qwen2.5-0.5B's shape whose matrices are all Q4_0, then runs
llama-batched-bench and benchmarks/kernels.py alternately.

    python benchmarks/llama_cpp.py --rounds 3
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fairway.formats.gguf_writer import GgufData, gguf_data, write_gguf
from fairway.kernels.cores import allowed_cores

TOOLS = ("llama-bench", "llama-batched-bench", "llama-server", "llama-quantize", "llama-tokenize")
LAYERS, WIDTH, HEADS, KV_HEADS, FFN, VOCABULARY = 24, 896, 14, 2, 4864, 151936
BATCHES = (1, 8, 32)
CONTEXT = 512


def build(folder: Path) -> Path:
    """The folder of the built tools; about ten minutes on two cores the first time."""
    tools = folder / "bin"
    if all((tools / name).exists() for name in TOOLS):
        return tools
    folder.mkdir(parents=True, exist_ok=True)
    source = unpack(folder) / "vendor" / "llama.cpp"
    off = ("BUILD_SHARED_LIBS", "LLAMA_CURL", "LLAMA_OPENSSL", "LLAMA_BUILD_TESTS", "LLAMA_BUILD_EXAMPLES")
    flags = [f"-D{name}=OFF" for name in off] + ["-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON"]
    made = folder / "build"
    run(["cmake", "-S", str(source), "-B", str(made), *flags])
    run(["cmake", "--build", str(made), "-j", str(allowed_cores()), "--target", *TOOLS])
    tools.mkdir(exist_ok=True)
    for name in TOOLS:
        shutil.copy2(made / "bin" / name, tools / name)
    return tools


def unpack(folder: Path) -> Path:
    """Downloads and unpacks llama-cpp-python's source archive."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:"]
    if not list(folder.glob("llama_cpp_python-*.tar.gz")):
        run([*command, "-d", str(folder), "llama-cpp-python"])
    archive = sorted(folder.glob("llama_cpp_python-*.tar.gz"))[-1]
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def random_q4_0(rows: int, columns: int, seed: int) -> GgufData:
    """Blocks of 32: a float16 scale, then 16 bytes of codes."""

    def chunks() -> Iterator[memoryview]:
        random = np.random.default_rng(seed)
        for start in range(0, rows, 4096):
            count = min(4096, rows - start)
            blocks = np.empty((count * columns // 32, 18), np.uint8)
            scales = np.full(len(blocks), columns**-0.5 / 4.6, np.float16)
            blocks[:, :2] = scales.view(np.uint8).reshape(-1, 2)
            blocks[:, 2:] = np.frombuffer(random.bytes(blocks.shape[0] * 16), np.uint8).reshape(-1, 16)
            yield blocks.reshape(-1).data

    return GgufData("Q4_0", (rows, columns), chunks)


def write_model(path: Path) -> None:
    """A qwen2 GGUF without a vocabulary of words: for measuring, not for serving."""
    metadata = {
        "general.architecture": "qwen2",
        "general.name": "random-0.5b",
        "general.file_type": 2,
        "qwen2.block_count": LAYERS,
        "qwen2.context_length": 32768,
        "qwen2.embedding_length": WIDTH,
        "qwen2.feed_forward_length": FFN,
        "qwen2.attention.head_count": HEADS,
        "qwen2.attention.head_count_kv": KV_HEADS,
        "qwen2.attention.layer_norm_rms_epsilon": 1e-6,
        "qwen2.rope.freq_base": 1e6,
        "qwen2.vocab_size": VOCABULARY,
        "tokenizer.ggml.model": "none",
    }
    kv = WIDTH // HEADS * KV_HEADS
    matrices = {"attn_q": (WIDTH, WIDTH), "attn_k": (kv, WIDTH), "attn_v": (kv, WIDTH)}
    matrices |= {"attn_output": (WIDTH, WIDTH), "ffn_gate": (FFN, WIDTH), "ffn_up": (FFN, WIDTH)}
    matrices |= {"ffn_down": (WIDTH, FFN)}
    tensors = {"token_embd.weight": random_q4_0(VOCABULARY, WIDTH, 0), "output_norm.weight": ones(WIDTH)}
    for layer in range(LAYERS):
        for seed, (name, (rows, columns)) in enumerate(matrices.items(), start=1):
            tensors[f"blk.{layer}.{name}.weight"] = random_q4_0(rows, columns, layer * 10 + seed)
        for name, size in (("attn_q", WIDTH), ("attn_k", kv), ("attn_v", kv)):
            tensors[f"blk.{layer}.{name}.bias"] = ones(size)
        for name in ("attn_norm", "ffn_norm"):
            tensors[f"blk.{layer}.{name}.weight"] = ones(WIDTH)
    write_gguf(path, metadata, tensors)


def ones(size: int) -> GgufData:
    return gguf_data("F32", (size,), np.ones(size, np.float32))


def run(command: list[str]) -> str:
    """Output of a command; a failing one shows what it said."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return done.stdout


def measure_llama(tools: Path, model: Path, threads: int) -> dict[str, float]:
    """Tokens per second by phase, each batch in a run of its own, the context full of prompt."""
    rates = {}
    for batch in BATCHES:
        size = batch * (CONTEXT + 32)
        text = run(
            [str(tools / "llama-batched-bench"), "-m", str(model), "-c", str(size), "-b", "512", "-ub", "512",
             "-npp", str(CONTEXT), "-ntg", "16", "-npl", str(batch), "-t", str(threads), "-tb", str(threads),
             "--output-format", "jsonl"]
        )  # fmt: skip
        line = next(line for line in text.splitlines() if line.startswith("{"))
        found = json.loads(line)
        rates[f"decode, batch {batch}"] = found["speed_tg"]
        if batch == 1:
            rates[f"prefill {CONTEXT}"] = found["speed_pp"]
    return rates


def measure_fairway(threads: int, weights: str) -> dict[str, float]:
    script = Path(__file__).with_name("kernels.py")
    text = run(
        [sys.executable, str(script), "--json", "--rounds", "3", "--weights", weights,
         "--context", str(CONTEXT), "--threads", str(threads), "--batch", ",".join(map(str, BATCHES))]
    )  # fmt: skip
    return {result["phase"]: result["tokens_per_s"] for result in json.loads(text)}


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "fairway-benchmarks"
    parser.add_argument("--folder", type=Path, default=cache, help="where llama.cpp and the model are kept")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=allowed_cores())
    parser.add_argument("--build-only", action="store_true")
    args = parser.parse_args()
    tools = build(args.folder)
    model = args.folder / "random-0.5b-q4_0.gguf"
    if not model.exists():
        write_model(model)
    if args.build_only:
        return
    rounds = []
    for number in range(args.rounds):
        print(f"round {number + 1} of {args.rounds}", file=sys.stderr)
        rounds.append((measure_llama(tools, model, args.threads), measure_fairway(args.threads, "int4")))
    print(f"{'phase':18} {'llama.cpp Q4_0':>24} {'fairway int4':>24}  ratio")
    for phase in (f"prefill {CONTEXT}", *(f"decode, batch {batch}" for batch in BATCHES)):
        cells, medians = [], []
        for rates in zip(*rounds, strict=True):
            values = [rate[phase] for rate in rates]
            medians.append(statistics.median(values))
            cells.append(f"{medians[-1]:.1f} ({min(values):.1f}-{max(values):.1f})")
        print(f"{phase:18} {cells[0]:>24} {cells[1]:>24}  {medians[1] / medians[0]:.2f}x")


if __name__ == "__main__":
    main()
