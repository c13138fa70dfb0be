"""llama.cpp built for this processor from the source archive of llama-cpp-python, once."""

from __future__ import annotations

import shutil
import sys
import tarfile
from pathlib import Path

from benchmarks.comparison.environments import run
from benchmarks.peers.protocol import Place, Unavailable

TOOLS = ("llama-batched-bench", "llama-bench", "llama-quantize", "llama-server")
OFF = ("BUILD_SHARED_LIBS", "LLAMA_CURL", "LLAMA_OPENSSL", "LLAMA_BUILD_TESTS", "LLAMA_BUILD_EXAMPLES")
FLAGS = [*(f"-D{name}=OFF" for name in OFF), "-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON"]


def llama_tools(place: Place) -> Path:
    """The folder of the tools: the one that was given, or the one that `build` makes."""
    folder = place.llama_tools or place.cache / "llama.cpp" / "bin"
    missing = [name for name in TOOLS if not (folder / name).exists()]
    if missing and place.llama_tools:
        raise Unavailable(f"--llama-bin has no {', '.join(missing)}")
    return folder


def build(place: Place) -> None:
    """About ten minutes on two cores the first time."""
    tools = llama_tools(place)
    if all((tools / name).exists() for name in TOOLS):
        return
    folder = tools.parent
    folder.mkdir(parents=True, exist_ok=True)
    source, made, log = unpack(folder, place), folder / "build", place.log("llama.cpp build")
    run(["cmake", "-S", str(source), "-B", str(made), *FLAGS], log)
    run(["cmake", "--build", str(made), "-j", str(place.jobs), "--target", *TOOLS], log)
    tools.mkdir(exist_ok=True)
    for name in TOOLS:
        shutil.copy2(made / "bin" / name, tools / name)


def unpack(folder: Path, place: Place) -> Path:
    """llama.cpp's sources, which the archive carries whole."""
    if not list(folder.glob("llama_cpp_python-*.tar.gz")):
        download = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:"]
        run([*download, "--no-build-isolation", "-d", str(folder), "llama-cpp-python"],
            place.log("llama.cpp download"))  # fmt: skip
    archive = sorted(folder.glob("llama_cpp_python-*.tar.gz"))[-1]
    source = folder / archive.name.removesuffix(".tar.gz") / "vendor" / "llama.cpp"
    if not source.exists():
        with tarfile.open(archive) as file:
            file.extractall(folder, filter="data")
    return source
