"""Where PyTorch's two layouts keep the pickle and the numbers. Knows no tensor.

A zip archive holds `NAME/data.pkl` and one uncompressed entry `NAME/data/KEY` per storage. The layout
before it is four pickles (a magic number, a version, the sizes of C's types, the value), a fifth with
the keys in order, then each storage: eight bytes of length and the numbers.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fairway.errors import FormatError, UnsupportedError
from fairway.formats.pickle_values import NOT_EXECUTED, Build, read_values
from fairway.formats.source import Source

MAX_PICKLE_BYTES = 256 << 20
MAGIC = 0x1950A86A20F9469CFC6C
LOCAL_HEADER_BYTES = 30
BROKEN_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    ValueError,
)
"""What a broken archive makes of the standard library's reader; it has a NotImplementedError, too."""
HINT = "Download the file again, or save it again with torch.save."


@dataclass(frozen=True)
class Content:
    """The value with records in place of its tensors, and each storage's place and size in bytes."""

    value: Any
    places: Mapping[str, int]
    sizes: Mapping[str, int]


def read_zip(source: Source, names: Mapping[str, Build], storage: Callable[[object], object]) -> Content:
    try:
        with source.open() as file, zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            pickle = _pickle_entry(entries, source)
            root = pickle.filename.removesuffix("data.pkl")
            _check_byte_order(archive, root, source)
            value = read_values(
                io.BytesIO(archive.read(pickle)), names, storage, f"{source.path} ({pickle.filename})"
            )
    except BROKEN_ZIP as error:
        problem = str(error).rstrip(".") or type(error).__name__
        raise FormatError(
            f"{source.path} is a damaged zip archive: {problem}. {NOT_EXECUTED}", hint=HINT
        ) from None
    places, sizes = {}, {}
    for entry in entries:
        if entry.filename.startswith(f"{root}data/"):
            key = entry.filename.removeprefix(f"{root}data/")
            places[key], sizes[key] = place(entry, source), entry.file_size
    return Content(value, places, sizes)


def _pickle_entry(entries: list[zipfile.ZipInfo], source: Source) -> zipfile.ZipInfo:
    found = [entry for entry in entries if entry.filename.rpartition("/")[2] == "data.pkl"]
    if len(found) != 1:
        raise UnsupportedError(
            f"{source.path} is a zip archive, but not one that torch.save made. {NOT_EXECUTED}",
            hint="TorchScript and other archives are not weights: export the state dict.",
        )
    [entry] = found
    if entry.file_size > MAX_PICKLE_BYTES:
        raise FormatError(
            f"{entry.filename} in {source.path} would take {entry.file_size:,} bytes.", hint=HINT
        )
    return entry


def _check_byte_order(archive: zipfile.ZipFile, root: str, source: Source) -> None:
    name = f"{root}byteorder"
    if name not in archive.namelist():
        return
    with archive.open(name) as entry:
        is_little = entry.read(6) == b"little"
    if not is_little:
        raise UnsupportedError(f"{source.path} was written on a big-endian machine.", hint="Save it again.")


def place(entry: zipfile.ZipInfo, source: Source) -> int:
    """The first byte of an entry's data, which its local header says."""
    if entry.compress_type != zipfile.ZIP_STORED:
        raise UnsupportedError(
            f"{entry.filename} in {source.path} is compressed, which its writer never does.", hint=HINT
        )
    header = source.read(entry.header_offset, LOCAL_HEADER_BYTES)
    name_size, extra_size = int.from_bytes(header[26:28], "little"), int.from_bytes(header[28:30], "little")
    begin = entry.header_offset + LOCAL_HEADER_BYTES + name_size + extra_size
    if header[:4] != b"PK\x03\x04" or begin + entry.file_size > source.size:
        raise FormatError(f"{entry.filename} in {source.path} lies outside the file.", hint=HINT)
    return begin


def read_legacy(source: Source, names: Mapping[str, Build], storage: Callable[[object], Any]) -> Content:
    seen: dict[str, int] = {}

    def noted(persistent_id: object) -> object:
        found = storage(persistent_id)
        seen[found.key] = max(seen.get(found.key, 0), found.element_bytes)
        return found

    with source.open() as stream:
        pickles = (read_values(stream, names, noted, str(source.path)) for _ in range(5))
        if next(pickles) != MAGIC:
            raise UnsupportedError(
                f"{source.path} is a pickle, but not one that torch.save made. {NOT_EXECUTED}",
                hint="Export the model's state dict as safetensors.",
            )
        _version, system, value, keys = pickles
        at = stream.tell()
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise UnsupportedError(f"{source.path} was written on a big-endian machine.", hint="Save it again.")
    if not isinstance(keys, list) or not all(isinstance(key, str) and key in seen for key in keys):
        raise FormatError(f"{source.path} lists storages that nothing uses.", hint=HINT)
    places, sizes = _legacy_storages(keys, seen, at, source)
    return Content(value, places, sizes)


def _legacy_storages(
    keys: list[str], element_bytes: Mapping[str, int], at: int, source: Source
) -> tuple[dict[str, int], dict[str, int]]:
    """Places and sizes of the storages that begin at byte `at`."""
    places, sizes = {}, {}
    for key in keys:
        count = int.from_bytes(source.read(at, 8), "little", signed=True)
        size = count * element_bytes[key]
        if count < 0 or at + 8 + size > source.size:
            raise FormatError(f"Storage {key[:40]!r} in {source.path} lies outside the file.", hint=HINT)
        places[key], sizes[key] = at + 8, size
        at += 8 + size
    return places, sizes
