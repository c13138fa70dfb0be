"""Decoding from weights in huge pages against the same weights in a mapped file, interleaved.

One stream on a decoder of Qwen2.5-0.5B's shape; the best of many rounds of each, since other work
on the machine only ever makes a round slower.

    python benchmarks/mapped_weights.py --weights int4 --folder /tmp
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from fairway.kernels import program as p
from fairway.kernels.extension import native
from fairway.kernels.native_backend import NativeBackend, NativeExecutable
from fairway.kernels.program import CacheShape, Limits, Program
from kernels import Decoder, Shape, make_step

CHUNK_BYTES = 8 << 20
"""Written at once: large enough for the page cache to hold the file in huge pages."""


def mapped_program(decoder: Decoder, folder: str) -> Program:
    """The same program over one file that holds every matrix, each beginning on a page."""
    places = {}
    content = bytearray()
    for matrix in decoder.matrices:
        places[id(matrix)] = (matrix.form, len(content))
        content += memoryview(matrix.packed)
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for start in range(0, len(content), CHUNK_BYTES):
            file.write(memoryview(content)[start : start + CHUNK_BYTES])
        mapping = native.MappedFile(file.fileno(), len(content))
    found = {key: mapping.matrix(*place) for key, place in places.items()}
    program = replace(decoder.program, operations=[])
    for operation in decoder.program.operations:
        if isinstance(operation, p.Linear):
            operation = replace(operation, matrix=found[id(operation.matrix)])
        elif isinstance(operation, p.Embed):
            operation = replace(operation, table=found[id(operation.table)])
        program.record(operation)
    return program


def best(executable: NativeExecutable, context: int, steps: int) -> float:
    """Tokens per second over a few steps."""
    step = make_step(1, 1, context, -(-(context + 1) // 16))
    start = time.perf_counter()
    for _ in range(steps):
        executable.run(step)
    return steps / (time.perf_counter() - start)


def huge_bytes() -> dict[str, int]:
    """What this process has in huge pages: of its own, and of files."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    sizes = {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines[1:]}
    return {"huge pages": sizes["AnonHugePages"], "mapped file": sizes["FilePmdMapped"]}


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--weights", default="int4", choices=["bf16", "int8", "int4"])
    parser.add_argument("--folder", default=tempfile.gettempdir(), help="where the file is written")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--steps", type=int, default=8, help="tokens in a round")
    parser.add_argument("--isa", choices=["avx512", "avx2"])
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    backend, context = NativeBackend(args.isa, args.threads), 128
    decoder = Decoder(backend, Shape(), args.weights)
    shape = decoder.shape
    cache = CacheShape(shape.layers, context // 16 + 1, 16, shape.kv_heads, shape.head_size)
    programs = {"huge pages": decoder.program, "mapped file": mapped_program(decoder, args.folder)}
    executables = {
        name: backend.compile(program, cache, Limits(1, 1, 1)) for name, program in programs.items()
    }
    rates = dict.fromkeys(executables, 0.0)
    for _ in range(args.rounds):
        for name, executable in executables.items():
            rates[name] = max(rates[name], best(executable, context, args.steps))
    huge = huge_bytes()
    for name, rate in rates.items():
        gigabytes = decoder.weight_bytes * rate / 1e9
        print(f"{args.weights} from {name}: {rate:.1f} tokens/s, {gigabytes:.1f} GB/s of weights, "
              f"{huge[name] / 1e6:.0f} of {decoder.weight_bytes / 1e6:.0f} MB in huge pages")  # fmt: skip
    print(f"a mapped file has {rates['mapped file'] / rates['huge pages']:.3f} of the speed")


if __name__ == "__main__":
    main()
