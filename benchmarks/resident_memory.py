"""Memory that a whole engine holds once its key-value cache is full, beside what weights and cache must take.

Loads a model with its tokenizer as `fairway serve` does, from packed weights that an earlier start has
kept, with the server's code imported; fills every block of the cache with prompts; and reads what the
system says is resident.

    python benchmarks/resident_memory.py MODEL_FOLDER --weights int4 --tokens 8192
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil

import fairway.server.app  # noqa: F401  a server's memory is counted
from fairway.engine.request import Request
from fairway.engine.sampling_params import SamplingParams
from fairway.formats.open import open_bundle
from fairway.map.settings import PlanSettings
from fairway.runtimes.heap import release_unused
from fairway.runtimes.loading import Loaded, NativeOptions, load_engine

MB = 1e6
BLOCK_TOKENS = 16
PROMPTS = 8


def resident() -> int:
    return psutil.Process().memory_info().rss


def load(path: str, weight_type: str, tokens: int) -> Loaded:
    options = NativeOptions(
        name="measured",
        weight_type=weight_type,
        context=tokens,
        kv_type="f16",
        num_blocks=tokens // BLOCK_TOKENS,
        block_size=BLOCK_TOKENS,
        cache_folder=PlanSettings().packed_folder,
        cache_bytes=1 << 40,
    )
    return load_engine(open_bundle(path), options)


def fill(loaded: Loaded, tokens: int) -> None:
    """Different prompts, one after the other, that take every block; they stay when their requests end."""
    random, length = np.random.default_rng(0), tokens // PROMPTS - 1
    for _ in range(PROMPTS):
        ids = random.integers(0, loaded.tokenizer.vocab_size, length).tolist()
        loaded.engine.add(Request(ids, SamplingParams(temperature=0.0, max_tokens=1)))
        while loaded.engine.scheduler.running or loaded.engine.scheduler.waiting:
            loaded.engine.step()


def measure(path: str, weight_type: str, tokens: int) -> dict[str, float]:
    before = resident()
    loaded = load(path, weight_type, tokens)
    release_unused()
    started = resident()
    fill(loaded, tokens)
    weights = loaded.model.weight_bytes
    pool = loaded.model.cache_shape(tokens // BLOCK_TOKENS, BLOCK_TOKENS).num_bytes
    return {
        "weights": weights / MB,
        "cache": pool / MB,
        "before loading": before / MB,
        "started": started / MB,
        "cache full": resident() / MB,
        "beside weights and cache": (resident() - weights - pool) / MB,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a folder or file with its tokenizer")
    parser.add_argument("--weights", default="int4")
    parser.add_argument("--tokens", type=int, default=8192, help="that the cache holds (default %(default)s)")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.once:
        print(json.dumps(measure(args.model, args.weights, args.tokens)))
        return
    # The first start packs the weights and keeps them, the second maps them.
    words = [sys.executable, str(Path(__file__)), "--once", *sys.argv[1:]]
    for _ in range(2):
        output = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    for name, value in json.loads(output).items():
        print(f"{name:28} {value:8.0f} MB")


if __name__ == "__main__":
    main()
