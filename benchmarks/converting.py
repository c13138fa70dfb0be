"""How long converting takes and what memory it needs, beside llama.cpp's own two programs.

    python benchmarks/converting.py --tokenizer FOLDER [--llama-cpp SOURCES --llama-bin BIN ...]

Makes a model of Qwen2.5-0.5B's shape with random bf16 weights and the tokenizer of FOLDER (a Hugging Face
folder; its vocabulary must fit the shape). `--llama-cpp` is llama.cpp's source tree, whose
convert_hf_to_gguf.py runs under `--llama-python` (torch, transformers, sentencepiece); `--llama-bin` is the
folder with llama-quantize. Rounds alternate, medians are told, and every run is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fairway.formats.safetensors_writer import TensorData, write_safetensors
from fairway.formats.sidecars import TOKENIZER_FILES
from fairway.kernels.cores import allowed_cores
from fairway.models.conversion import floats_of, to_bf16
from fairway.models.random import QWEN2_5_0_5B, random_bundle

END_OF_TEXT = 151_645


def make_model(folder: Path, tokenizer: Path) -> None:
    config = dict(QWEN2_5_0_5B) | {"architectures": ["Qwen2ForCausalLM"], "eos_token_id": END_OF_TEXT}
    config |= {"hidden_act": "silu", "torch_dtype": "bfloat16"}
    tensors = random_bundle(config, "bf16").tensors

    def chunks(name: str) -> Iterator[memoryview]:
        weight = tensors.read(name)
        bits = weight.values if weight.values.dtype == np.uint16 else to_bf16(floats_of(weight))
        yield np.ascontiguousarray(bits).reshape(-1).view(np.uint8).data

    def data(name: str) -> TensorData:
        return TensorData("BF16", tensors.infos[name].shape, lambda: chunks(name))

    folder.mkdir()
    write_safetensors(folder / "model.safetensors", {n: data(n) for n in tensors.infos}, {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    for name in TOKENIZER_FILES:
        if (tokenizer / name).is_file():
            shutil.copyfile(tokenizer / name, folder / name)


def measured(command: list[str], environment: dict[str, str] | None = None) -> tuple[float, float]:
    """Wall seconds and peak MiB of one process."""
    start = time.monotonic()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        errors = process.stderr.read() if process.stderr else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{errors[-2000:]}")
    return time.monotonic() - start, usage.ru_maxrss / 1024


def ours(model: Path, mix: str) -> tuple[float, float]:
    out = model.parent / "ours.gguf"
    command = [
        sys.executable,
        "-m",
        "fairway",
        "quantize",
        str(model),
        "--to",
        mix,
        "--out",
        str(out),
        "--force",
    ]
    return measured(command)


def theirs(model: Path, mix: str, options: argparse.Namespace) -> list[tuple[float, float]]:
    """Conversion to bf16, then quantising with as many threads as cores."""
    plain, small = model.parent / "theirs-bf16.gguf", model.parent / "theirs.gguf"
    script = Path(options.llama_cpp) / "convert_hf_to_gguf.py"
    paths = [str(script.parent / "gguf-py"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    convert = [options.llama_python, str(script), str(model), "--outtype", "bf16", "--outfile", str(plain)]
    quantize = [
        str(Path(options.llama_bin) / "llama-quantize"),
        str(plain),
        str(small),
        mix,
        str(allowed_cores()),
    ]
    return [measured(convert, environment), measured(quantize)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--to", default="Q4_K_M")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--llama-cpp")
    parser.add_argument("--llama-python", default=sys.executable)
    parser.add_argument("--llama-bin")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fairway-converting-") as folder:
        model = Path(folder) / "model"
        make_model(model, options.tokenizer)
        runs: dict[str, list[tuple[float, float]]] = {}
        for _ in range(options.rounds):
            runs.setdefault("fairway quantize, one pass", []).append(ours(model, options.to))
            if options.llama_cpp and options.llama_bin:
                convert, quantize = theirs(model, options.to, options)
                runs.setdefault("llama.cpp convert", []).append(convert)
                runs.setdefault("llama.cpp quantize", []).append(quantize)
        largest = max(info.num_bytes for info in random_bundle(QWEN2_5_0_5B, "bf16").tensors.infos.values())
    print(f"Qwen2.5-0.5B's shape, bf16 to {options.to}, {allowed_cores()} cores; medians of {options.rounds}")
    for name, figures in runs.items():
        seconds, peak = (statistics.median(column) for column in zip(*figures, strict=True))
        print(f"{name:28} {seconds:6.2f} s  peak {peak:6.0f} MiB")
    print(f"{'the largest tensor + 500 MB':28} {'':6}     peak {(largest + 500e6) / 2**20:6.0f} MiB allowed")


if __name__ == "__main__":
    main()
