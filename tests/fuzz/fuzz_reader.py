"""Feeds one reader with what libFuzzer makes of small sound files: `python fuzz_reader.py gguf CORPUS`.

Readers: gguf, safetensors, pickle, onnx. The right outcome is a model or one FairwayError; anything else
is a finding. With `--findings FOLDER` each kind of finding is written there once and the search goes on,
otherwise the first one ends it. All other arguments are libFuzzer's. Not collected by pytest; needs atheris.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["fairway.formats", "pickletools"]):
    from fairway.errors import FairwayError
    from fairway.formats.open import obstacle, open_bundle
    from fairway.formats.open_graph import open_graph
    from fairway.formats.summary import summarize

MAX_TENSORS_READ = 50
FILE_NAMES = {
    "gguf": "model.gguf",
    "safetensors": "model.safetensors",
    "pickle": "model.pt",
    "onnx": "model.onnx",
}


def read_bundle(path: Path) -> None:
    """All that `fairway inspect` and a loader read of a file."""
    bundle = open_bundle(path, complete=False)
    obstacle(bundle)
    summarize(bundle)
    for name in list(bundle.tensors.infos)[:MAX_TENSORS_READ]:
        read_quietly(bundle.tensors.read, name)
        read_quietly(bundle.tensors.stored, name)


def read_graph(path: Path) -> None:
    model = open_graph(path)
    for name in list(model.tensors.infos)[:MAX_TENSORS_READ] if model else ():
        read_quietly(model.tensors.read, name)
        read_quietly(model.tensors.stored, name)


def read_quietly(read: Callable[[str], object], name: str) -> None:
    """A tensor of a type that cannot be run says so, and the others are read all the same."""
    with suppress(FairwayError):
        read(name)


def attempt(reader: str, path: Path, data: bytes) -> None:
    """A pickle is also tried inside an archive, whose checksum no change of the archive would survive."""
    path.write_bytes(data)
    with suppress(FairwayError):
        (read_graph if reader == "onnx" else read_bundle)(path)
    if reader == "pickle":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", data)
            archive.writestr("archive/data/0", bytes(64))
        with suppress(FairwayError):
            read_bundle(path)


def signature(error: Exception) -> str:
    """The kind of an error and the line of ours that raised it: two alike are one finding."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "fairway" in frame.filename]
    place = f"{Path(ours[-1].filename).stem}-{ours[-1].lineno}" if ours else "nowhere"
    return f"{type(error).__name__}-{place}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reader", choices=FILE_NAMES)
    parser.add_argument("--findings", type=Path)
    ours, libfuzzers = parser.parse_known_args()
    folder = tempfile.TemporaryDirectory(prefix="fairway-fuzz-")
    path = Path(folder.name) / FILE_NAMES[ours.reader]

    def once(data: bytes) -> None:
        try:
            attempt(ours.reader, path, data)
        except Exception as error:
            if ours.findings is None:
                raise
            found = ours.findings / f"{ours.reader}-{signature(error)}"
            if not found.exists():
                found.write_bytes(data)
                print(f"finding: {found.name}: {str(error)[:200]}", file=sys.stderr)

    atheris.Setup([sys.argv[0], *libfuzzers], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
