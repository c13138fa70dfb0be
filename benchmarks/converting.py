"""A Hugging Face folder to a quantised GGUF file in one command, beside llama.cpp's two programs.

    python benchmarks/converting.py                                  some minutes
    python benchmarks/converting.py --shape qwen2.5-0.5b --rounds 1

The model has random bf16 weights and a real tokenizer. llama.cpp converts it with convert_hf_to_gguf.py, from
the same archive as its tools, and then runs llama-quantize. Every run is a process of its own, turn about;
Fairway's includes its proof. Peak memory is the process's resident set, mapped pages of the source included.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)

from benchmarks.compare import CACHE  # noqa: E402
from benchmarks.comparison.contest import machine  # noqa: E402
from benchmarks.comparison.environments import ensure_environment  # noqa: E402
from benchmarks.comparison.neighbours import busy_share  # noqa: E402
from benchmarks.comparison.shapes import RANDOM, model_of  # noqa: E402
from benchmarks.comparison.turns import say  # noqa: E402
from benchmarks.peers.llama_build import build, llama_tools, unpack  # noqa: E402
from benchmarks.peers.protocol import Place  # noqa: E402
from benchmarks.workloads.chart import bars  # noqa: E402
from benchmarks.workloads.results import RESULTS, facts, now, save, table  # noqa: E402
from fairway.formats.sidecars import TOKENIZER_FILES  # noqa: E402
from fairway.kernels.cores import allowed_cores  # noqa: E402
from fairway.models.random import random_bundle  # noqa: E402

TOKENIZER = ROOT.parent / "shared" / "data" / "tokenizers" / "qwen3"
NEEDED = ("torch==2.13.0", "transformers", "sentencepiece", "protobuf")
"""By convert_hf_to_gguf.py, which brings its own gguf."""
OURS, CONVERT, QUANTIZE = "Fairway, one command", "llama.cpp, convert", "llama.cpp, quantize"
SLACK_BYTES = 500e6
Runs = dict[str, list[tuple[float, float]]]
"""Wall seconds and peak MiB of each run of a program."""


def arguments() -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    add = parser.add_argument
    add("--shape", choices=list(RANDOM), default="qwen2.5-1.5b", help="of the model (default %(default)s)")
    add("--to", default="Q4_K_M", help="(default %(default)s)")
    add("--rounds", type=int, default=3, help="turns of each (default %(default)s)")
    add("--layers", type=int, help="cut the model to so many layers, to try things out")
    add("--tokenizer", type=Path, default=TOKENIZER, help="folder of one that llama.cpp knows")
    add("--no-llama", action="store_true", help="Fairway alone")
    add("--cache", type=Path, default=CACHE, help="where models are kept (default %(default)s)")
    add("--llama-bin", type=Path, help="folder of llama.cpp's tools, instead of building them")
    add("--results", type=Path, default=RESULTS, help="where the tables go (default %(default)s)")
    return parser.parse_args()


def with_tokenizer(source: Path, tokenizer: Path, folder: Path) -> Path:
    """The model of `source`, by links, with another tokenizer."""
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).symlink_to(source / name)
    for name in TOKENIZER_FILES:
        if (tokenizer / name).is_file():
            shutil.copyfile(tokenizer / name, folder / name)
    return folder


def measured(
    command: Sequence[str | Path], environment: Mapping[str, str] | None = None
) -> tuple[float, float]:
    """Wall seconds and peak MiB of one process."""
    start = time.monotonic()
    words = [str(word) for word in command]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            sys.exit(f"{' '.join(words)} failed:\n{errors.read()[-2000:]}")
    return time.monotonic() - start, usage.ru_maxrss / 1024


def ours(model: Path, mix: str) -> dict[str, tuple[float, float]]:
    out = model.parent / "ours.gguf"
    fairway = [sys.executable, "-m", "fairway", "quantize"]
    return {OURS: measured([*fairway, model, "--to", mix, "--out", out, "--force"])}


def theirs(model: Path, mix: str, place: Place) -> dict[str, tuple[float, float]]:
    """Conversion to bf16, then quantising with as many threads as cores."""
    plain, small = model.parent / "theirs-bf16.gguf", model.parent / "theirs.gguf"
    source = unpack(llama_tools(place).parent, place)
    python = ensure_environment(place.environment("converting"), NEEDED)
    environment = {**os.environ, "PYTHONPATH": str(source / "gguf-py")}
    convert = [python, source / "convert_hf_to_gguf.py", model, "--outtype", "bf16", "--outfile", plain]
    quantize = [llama_tools(place) / "llama-quantize", plain, small, mix, str(place.threads)]
    return {CONVERT: measured(convert, environment), QUANTIZE: measured(quantize)}


def medians(runs: Runs) -> dict[str, tuple[float, float]]:
    return {name: tuple(map(statistics.median, zip(*each, strict=True))) for name, each in runs.items()}  # type: ignore[misc]


def ratios(runs: Runs) -> list[float]:
    """llama.cpp's two programs over Fairway's one, round by round."""
    rounds = zip(runs[OURS], runs.get(CONVERT, ()), runs.get(QUANTIZE, ()), strict=False)
    return [(convert[0] + quantize[0]) / own[0] for own, convert, quantize in rounds]


def page(runs: Runs, known: Mapping[str, Any], allowed: float) -> str:
    rows = [
        [name, f"{seconds:.1f} s", f"{min(s for s, _ in runs[name]):.1f}-{max(s for s, _ in runs[name]):.1f}",
         f"{peak:,.0f} MiB"]
        for name, (seconds, peak) in medians(runs).items()
    ]  # fmt: skip
    parts = [f"# Converting, {known['model']} to {known['to']}, {known['date']}", facts(known)]
    parts.append(table(["program", "median", "spread", "peak memory"], rows))
    parts.append(f"The largest tensor and 500 MB are {allowed:,.0f} MiB.")
    if found := ratios(runs):
        spread = f"{min(found):.2f}-{max(found):.2f}"
        parts.append(f"llama.cpp's two / Fairway's one: {statistics.median(found):.2f} ({spread}).")
    return "\n\n".join(parts) + "\n"


def main() -> None:
    args = arguments()
    place = Place(args.cache.expanduser().resolve(), allowed_cores(), allowed_cores(), args.llama_bin)
    known = {"date": now(), "model": args.shape, "to": args.to, "CPU of others before": f"{busy_share():.0%}"}
    source = model_of(args.shape, place.cache, args.layers).folder
    if not args.no_llama:
        build(place)
    runs: Runs = {}
    with tempfile.TemporaryDirectory(prefix="converting-", dir=place.cache) as folder:
        model = with_tokenizer(source, args.tokenizer, Path(folder) / "model")
        for turn in range(args.rounds):
            say(f"round {turn + 1} of {args.rounds}")
            done = ours(model, args.to) | ({} if args.no_llama else theirs(model, args.to, place))
            for name, figures in done.items():
                runs.setdefault(name, []).append(figures)
    largest = max(each.num_bytes for each in random_bundle(RANDOM[args.shape], "bf16").tensors.infos.values())
    text = page(runs, known | machine(place), (largest + SLACK_BYTES) / 2**20)
    data = known | machine(place) | {"runs": runs, "ratios": ratios(runs)}
    seconds = {name: each[0] for name, each in medians(runs).items()}
    chart = bars(f"{args.shape} to {args.to}: seconds", seconds)
    save(args.results, f"converting-{args.shape}", data, text, chart)
    print(text)


if __name__ == "__main__":
    main()
