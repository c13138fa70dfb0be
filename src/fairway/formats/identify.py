"""What a file appears to be, from its first bytes and without running any of it.

A table of signatures; pickles are walked opcode by opcode with the standard library's
disassembler, which only reads. Knows no model. Rule: nothing here may unpickle, import or extract.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from fairway.errors import FairwayError, FormatError, UnsupportedError
from fairway.formats.keras_archive import is_keras
from fairway.formats.modelfile import looks_like_modelfile
from fairway.formats.pickle_values import NOT_EXECUTED
from fairway.formats.source import Source
from fairway.formats.torch_archive import BROKEN_ZIP

HEAD_BYTES = 64 << 10
MODELFILE_BYTES = 4 << 10
MAX_OPCODES = 20_000
TORCH_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""The pickle of a magic number with which torch.save began before it wrote zip archives."""

ENGINE = "a TensorRT engine, built for one GPU and one version of TensorRT"
ENGINES = (".engine", ".plan", ".trt")
SIGNATURES = (
    (b"GGUF", "gguf", "a GGUF model"),
    (b"ftrt", "tensorrt", ENGINE),
    (TORCH_LEGACY, "torch", "a PyTorch checkpoint in the layout before zip archives"),
    (b"\x93NUMPY", "npy", "a NumPy array (.npy)"),
    (b"PK\x03\x04", "zip", "a zip archive"),
    (b"PK\x05\x06", "zip", "an empty zip archive"),
    (b"\x89HDF\r\n\x1a\n", "hdf5", "an HDF5 file (Keras and others)"),
    (b"\x1f\x8b", "gzip", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "7z", "a 7-zip archive"),
    (b"\x28\xb5\x2f\xfd", "zstd", "a zstandard archive"),
    (b"BZh", "bzip2", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "xz", "an xz archive"),
    (b"\x7fELF", "elf", "a Linux program"),
    (b"ggjt", "ggml", "a ggml file from before GGUF"),
    (b"tjgg", "ggml", "a ggml file from before GGUF"),
    (b"lmgg", "ggml", "a ggml file from before GGUF"),
    (b"<?xml", "xml", "an XML file (OpenVINO describes models so)"),
    (b"version https://git-lfs", "lfs", "a Git LFS pointer, not the model itself"),
)
HINTS = {
    "lfs": "Run `git lfs pull` in its repository, or download the file from the hub.",
    "onnx": "fairway inspect shows it, fairway convert makes OpenVINO's IR of it; running takes its source.",
    "keras": "fairway convert MODEL --to onnx makes a graph of it, for ONNX Runtime and OpenVINO.",
    "hdf5": "Where you trust it, load it with Keras and save it as .keras, which fairway convert reads.",
    "skops": "fairway convert MODEL --to onnx makes a graph of it, for ONNX Runtime.",
    "torchscript": "Where you trust it, load it with torch.jit.load and write it with torch.onnx.export.",
    "openvino": "fairway inspect shows it; converting and running take the model it was exported from.",
    "tensorrt": "Use the model it was built from: fairway tensorrt builds an engine again where it runs.",
    "ggml": "Convert the original model to GGUF with a current llama.cpp.",
}
SKLEARN_HINT = (
    "Where you trust it, load it and save it with skops.io.dump: fairway convert reads .skops files."
)
CONVERT_HINT = "Convert it to safetensors or GGUF, on a machine where you trust it."


@dataclass(frozen=True)
class Kind:
    """`format` is "gguf", "safetensors", "torch", "pickle", "zip", "npy", ... or "unknown"."""

    format: str
    words: str
    """For people: "a pickle (protocol 4) that would call os.system"."""

    def refusal(self, path: Path) -> FairwayError:
        """The error for a file that is not a model Fairway opens."""
        if self.format in ("unknown", "empty", "text"):
            return FormatError(
                f"{path} is {self.words}, not a model that can be read. {NOT_EXECUTED}",
                hint="Name a .safetensors or .gguf file, or a folder from a model hub.",
            )
        return UnsupportedError(
            f"{path} is {self.words}, which is not opened. {NOT_EXECUTED}",
            hint=SKLEARN_HINT if "sklearn." in self.words else HINTS.get(self.format, CONVERT_HINT),
        )


def identify(path: Path) -> Kind:
    """Looks at the beginning of a regular file."""
    source = Source(path)
    head = source.read(0, min(source.size, HEAD_BYTES))
    if not head:
        return Kind("empty", "an empty file")
    if _looks_like_safetensors(head, source.size):
        return Kind("safetensors", "a safetensors file")
    if looks_like_modelfile(path, head[:MODELFILE_BYTES]):
        return Kind("modelfile", "an Ollama Modelfile")
    if head[257:262] == b"ustar":
        return Kind("tar", "a tar archive")
    for magic, name, words in SIGNATURES:
        if head.startswith(magic):
            return _closer(Kind(name, words), path, head)
    if kind := _pickle(head):
        return kind
    if path.suffix in (".safetensors", ".gguf"):
        return Kind(path.suffix[1:], "a damaged model file")
    return _by_name(path, head)


def _looks_like_safetensors(head: bytes, size: int) -> bool:
    length = int.from_bytes(head[:8], "little")
    return len(head) > 8 and head[8:9] == b"{" and length < max(size, 1 << 32)


def _closer(kind: Kind, path: Path, head: bytes) -> Kind:
    if kind.format == "zip":
        return _zip(path, kind)
    if kind.format == "xml" and b"<net " in head[:4096]:
        return Kind("openvino", "an OpenVINO model (IR)")
    if kind.format == "npy" and b"'|O'" in head[:512]:
        return Kind("npy", "a NumPy array of objects (.npy), which holds a pickle")
    return kind


def _zip(path: Path, kind: Kind) -> Kind:
    """Reads the archive's list of names; extracts nothing."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [info.filename for info in archive.infolist()[:1000]]
    except BROKEN_ZIP:
        return Kind("zip", "a damaged zip archive")
    if [name.rpartition("/")[2] for name in names].count("data.pkl") == 1 and not _is_script(names):
        return Kind("torch", "a PyTorch checkpoint")
    if "schema.json" in names and not is_keras(names):
        return Kind("skops", "a scikit-learn model, saved by skops")
    if is_keras(names):
        return Kind("keras", "a Keras model")
    if _is_script(names):
        return Kind("torchscript", "a TorchScript program")
    if any(name.endswith((".pkl", ".pickle")) for name in names):
        return Kind("zip", "a zip archive of pickles (PyTorch saves models so)")
    if names and all(name.endswith(".npy") for name in names):
        return Kind("zip", "a zip archive of NumPy arrays (.npz)")
    return kind


def _is_script(names: list[str]) -> bool:
    """TorchScript keeps a program beside its numbers."""
    return any("/code/" in name for name in names)


def _pickle(head: bytes) -> Kind | None:
    """Disassembles up to the first STOP. Text can look like protocol 0, so it must reach that STOP."""
    walk = _Walk()
    try:
        for opcode, argument, _ in pickletools.genops(io.BytesIO(head)):
            if walk.step(opcode.name, argument) or walk.num_opcodes >= MAX_OPCODES:
                break
    except Exception:  # noqa: BLE001  # the disassembler raises anything on broken input; it ran nothing
        pass
    is_binary = head[0] == 0x80 and len(head) > 1 and head[1] <= 5
    if not (is_binary or walk.names or (walk.ended and walk.num_opcodes > 1)):
        return None
    words = f"a pickle (protocol {walk.protocol})" + ("" if walk.ended else ", broken or long,")
    if walk.names:
        words += f" that would import {', '.join(dict.fromkeys(name[:60] for name in walk.names[:3]))}"
    return Kind("pickle", words)


@dataclass
class _Walk:
    """What a disassembly has met so far."""

    protocol: int = 0
    num_opcodes: int = 0
    ended: bool = False
    names: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    """The strings pushed just now: STACK_GLOBAL imports what the last two spell."""

    def step(self, name: str, argument: object) -> bool:
        """Takes one opcode; true when it was the last."""
        self.num_opcodes += 1
        if name == "PROTO" and isinstance(argument, int):
            self.protocol = argument
        elif name in ("GLOBAL", "INST"):
            self.names.append(str(argument).replace(" ", "."))
        elif name == "STACK_GLOBAL":
            self.names.append(".".join(self.texts[-2:]) if len(self.texts) > 1 else "something")
        if "UNICODE" in name and isinstance(argument, str):
            self.texts.append(argument)
        elif name not in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
            self.texts = []
        self.ended = name == "STOP"
        return self.ended


def _by_name(path: Path, head: bytes) -> Kind:
    if not head[:16].strip(b"\0"):
        return Kind("unknown", "a file that begins with nothing but zeros")
    if path.suffix == ".onnx" or (head[:1] == b"\x08" and b"onnx" in head[:4096]):
        return Kind("onnx", "an ONNX model")
    if path.suffix in ENGINES and b"\0" in head[:4096]:
        return Kind("tensorrt", ENGINE)
    if b"\0" in head[:1024]:
        return Kind("unknown", "a binary file of no known kind")
    try:
        head[:1024].decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < 1020:
            return Kind("unknown", "a binary file of no known kind")
    return Kind("text", "a text file")
