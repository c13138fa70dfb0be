"""The tensors of an ONNX model: in the file itself, or in files beside it.

Reads where they lie and how long they are; the numbers are mapped on demand. The rule: a file beside the
model is a plain file of its own folder, by a relative path without links, and long enough for what it holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path, PurePosixPath

import numpy as np

from fairway.errors import FormatError, UnsupportedError
from fairway.formats.bundle import TensorInfo
from fairway.formats.floats import FLOATS, Bytes, dense_tensor
from fairway.formats.onnx_schema import PLACES, STRING, TYPES
from fairway.formats.protobuf import HINT, Message, Reader, Span
from fairway.formats.source import Source
from fairway.tensors import DenseTensor

MAX_DIMENSIONS = 64
MAX_FILES = 1000
MAX_FILE_NAME = 255
"""Bytes of a file's name, as file systems allow."""
EXTERNAL = 1
"""`data_location` of a tensor that lies in another file."""
LISTS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
ITEM_BYTES = {"float_data": 4, "double_data": 8}
"""Lists of numbers of one size; those of the others take 1 to 10 bytes each."""


@dataclass(frozen=True)
class OnnxTensor:
    """One tensor: its bytes as they will be used at `span` of `source`, or a list of numbers in `spans`."""

    info: TensorInfo
    source: Source
    span: Span | None = None
    place: str = ""
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True)
class OnnxTensors:
    """`FileTensors` of a model; names are those of the graph."""

    tensors: Mapping[str, OnnxTensor]
    sources: tuple[Source, ...]

    @property
    def infos(self) -> Mapping[str, TensorInfo]:
        return {name: tensor.info for name, tensor in self.tensors.items()}

    def read(self, name: str) -> DenseTensor:
        """As stored, a view where possible. F32, F16 and BF16 only."""
        info = self._tensor(name).info
        if info.type not in FLOATS:
            raise UnsupportedError(
                f"Tensor {name[:120]!r} of {self.sources[0].path} is {info.type}, which cannot be run.",
                hint="Weights must be F32, F16 or BF16: export the model without quantising it.",
            )
        return dense_tensor(info.type, self.stored(name), info.shape)

    def stored(self, name: str) -> Bytes:
        """The tensor's bytes as raw_data has them, of any type."""
        tensor = self._tensor(name)
        source = tensor.source
        if source.path.stat().st_size < source.size:
            raise FormatError(f"{source.path} was cut short while it was open.", hint=HINT)
        if tensor.span is None:
            return _from_list(tensor)
        begin, end = tensor.span
        if begin == end:
            return np.zeros(0, np.uint8)
        return np.frombuffer(source.data, np.uint8, end - begin, begin)

    def _tensor(self, name: str) -> OnnxTensor:
        if name not in self.tensors:
            raise FormatError(f"{self.sources[0].path} has no tensor {name[:120]!r}.", hint=HINT)
        return self.tensors[name]


class Gatherer:
    """Collects the tensors of one model while its graph is read."""

    def __init__(self, reader: Reader) -> None:
        self.tensors: dict[str, OnnxTensor] = {}
        self._reader = reader
        self._files: dict[str, Source] = {}

    def add(self, name: str, message: Message) -> None:
        """A tensor under a name of its own. Raises `FormatError` for whatever does not fit together."""
        if name in self.tensors:
            raise self._reader.error(f"has two tensors of the name {name[:80]!r}")
        self.tensors[name] = self._tensor(name, message)

    def finished(self) -> OnnxTensors:
        return OnnxTensors(self.tensors, (self._reader.source, *self._files.values()))

    def _tensor(self, name: str, message: Message) -> OnnxTensor:
        shape = self._shape(name, message)
        number = message.get("data_type", 0)
        if "segment" in message:
            raise self._broken(name, "is cut into segments, which is not read")
        lists = [place for place in LISTS if message.get(place)]
        if number == STRING:
            return self._strings(name, shape, message)
        if number not in TYPES:
            raise self._broken(name, f"has the unknown type {number}")
        kind, bits = TYPES[number]
        info = TensorInfo(name, kind, shape, (prod(shape) * bits + 7) // 8)
        if message.get("data_location") == EXTERNAL:
            return self._external(info, message.get("external_data", []))
        if "raw_data" in message:
            begin, end = message["raw_data"]
            if end - begin != info.num_bytes or lists:
                raise self._broken(name, f"is {_stated(info)}, but takes {end - begin}")
            return OnnxTensor(info, self._reader.source, (begin, end))
        return self._listed(info, message, lists)

    def _shape(self, name: str, message: Message) -> tuple[int, ...]:
        shape = tuple(message.get("dims", ()))
        if len(shape) > MAX_DIMENSIONS or any(size < 0 for size in shape) or prod(shape) >= 1 << 56:
            raise self._broken(name, f"has the shape {list(shape)[:8]}")
        return shape

    def _strings(self, name: str, shape: tuple[int, ...], message: Message) -> OnnxTensor:
        spans = tuple(message.get("string_data", ()))
        if len(spans) != prod(shape):
            raise self._broken(name, f"has {len(spans)} strings, and a shape of {prod(shape)}")
        size = sum(end - begin for begin, end in spans)
        info = TensorInfo(name, "STRING", shape, size)
        return OnnxTensor(info, self._reader.source, None, "string_data", spans)

    def _listed(self, info: TensorInfo, message: Message, lists: list[str]) -> OnnxTensor:
        """Numbers as a list. How many there are is counted where their size says it, else on reading."""
        place = PLACES.get(info.type, "int32_data")
        spans = tuple(message.get(place, ()))
        if lists not in ([], [place]):
            raise self._broken(info.name, f"is {info.type}, but has {' and '.join(lists)}")
        size = sum(end - begin for begin, end in spans)
        least = info.num_elements * (2 if info.type.startswith("C") else 1)
        if info.type.endswith("4") and info.type in ("U4", "I4", "F4"):
            least = info.num_bytes
        fits = size == least * ITEM_BYTES[place] if place in ITEM_BYTES else least <= size <= 10 * least
        if not fits:
            raise self._broken(info.name, f"is {_stated(info)}, but its {place} takes {size}")
        return OnnxTensor(info, self._reader.source, None, place, spans)

    def _external(self, info: TensorInfo, entries: Iterable[Message]) -> OnnxTensor:
        values = {entry.get("key", ""): entry.get("value", "") for entry in entries}
        source = self._file(info.name, values.get("location", ""))
        offset = self._number(info.name, values.get("offset", "0"))
        length = self._number(info.name, values.get("length", str(info.num_bytes)))
        if length != info.num_bytes:
            raise self._broken(info.name, f"is {_stated(info)}, but takes {length} of {source.name}")
        if offset + length > source.size:
            raise self._broken(
                info.name, f"ends at byte {offset + length} of {source.name}, which has {source.size}"
            )
        return OnnxTensor(info, source, (offset, offset + length))

    def _number(self, name: str, text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 20):
            raise self._broken(name, f"has the offset or length {text[:40]!r}")
        return int(text)

    def _file(self, name: str, location: str) -> Source:
        """The file beside the model that is named; never one elsewhere."""
        if location not in self._files:
            if len(self._files) >= MAX_FILES:
                raise self._broken(name, f"is in one more than {MAX_FILES} files")
            folder = self._reader.source.path.parent
            self._files[location] = Source(inside(folder, location, self._reader.source.path))
        return self._files[location]

    def _broken(self, name: str, problem: str) -> FormatError:
        return FormatError(f"Tensor {name[:120]!r} of {self._reader.source.path} {problem}.", hint=HINT)


def inside(folder: Path, location: str, model: Path) -> Path:
    """The path of a file that `model` names, below `folder`. Raises `FormatError` for one that leads out."""
    parts = PurePosixPath(location).parts
    is_plain = parts and not any(each in ("..", "/") or "\\" in each or ":" in each for each in parts)
    is_short = len(location) <= 1000 and all(len(each.encode()) <= MAX_FILE_NAME for each in parts)
    if not is_plain or "\0" in location or not is_short:
        raise FormatError(f"{model} wants the file {location[:120]!r}, which is no plain file beside it.")
    # A hub's cache keeps all files of a model in one folder, and links to them from another.
    homes = (folder.resolve(), model.resolve().parent)
    path = folder
    for part in parts:
        path = path / part
        if path.is_symlink() and path.resolve().parent not in homes:
            raise FormatError(
                f"{model} wants the file {location[:120]!r}, which is a link to another folder.",
                hint="Copy the file itself beside the model.",
            )
    if not path.exists():
        raise FormatError(
            f"{model} keeps numbers in {location[:120]!r}, which is missing.",
            hint="Download it beside the model.",
        )
    return path


def _stated(info: TensorInfo) -> str:
    return f"{info.type} {list(info.shape)[:8]}, {info.num_bytes} bytes"


def _from_list(tensor: OnnxTensor) -> Bytes:
    """A list of numbers as raw_data would have them."""
    data, info = tensor.source.data, tensor.info
    raw = b"".join(data[begin:end] for begin, end in tensor.spans)
    if tensor.place == "string_data" or tensor.place in ITEM_BYTES:
        return np.frombuffer(raw, np.uint8)
    numbers = _varints(np.frombuffer(raw, np.uint8))
    width = max(1, info.num_bytes // max(1, info.num_elements))
    if len(numbers) * width != info.num_bytes:
        raise FormatError(
            f"Tensor {info.name[:120]!r} of {tensor.source.path} is {_stated(info)}, "
            f"but holds {len(numbers)} numbers.",
            hint=HINT,
        )
    return numbers.astype(f"<u{width}").view(np.uint8)


def _varints(raw: Bytes) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Numbers of seven bits to a byte, all at once; a list that ends inside one loses it."""
    ends = np.flatnonzero(raw < 0x80)
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64) if len(ends) else ends
    found = np.zeros(len(ends), np.uint64)
    for position in range(10):
        places = starts + position
        inside_number = places <= ends
        bits = raw[np.where(inside_number, places, 0)].astype(np.uint64) & np.uint64(0x7F)
        found |= np.where(inside_number, bits << np.uint64(7 * position), np.uint64(0))
    return found
