"""The part of HDF5 that Keras writes: groups in the old layout, with plain arrays of numbers in them.

Reads headers only; arrays are mapped on demand. No library parses the file, and nothing is executed. The
rule: an address is compared with the file's end before it is used, and every object is visited once.
https://support.hdfgroup.org/documentation/hdf5/latest/_f_m_t3.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod

from fairway.errors import FormatError, UnsupportedError
from fairway.formats.source import Source

SIGNATURE = b"\x89HDF\r\n\x1a\n"
UNDEFINED = 0xFFFF_FFFF_FFFF_FFFF
NOTHING, DATASPACE, DATATYPE, LAYOUT, CONTINUED, GROUP = 0x00, 0x01, 0x03, 0x08, 0x10, 0x11
LINKS = (0x02, 0x06)
"""Messages of groups in the new layout."""
FILTERS = 0x0B
CONTIGUOUS = 1
MAX_OBJECTS, MAX_DEPTH, MAX_MESSAGES, MAX_DIMENSIONS = 100_000, 50, 10_000, 32
MAX_NAME = 4096
TYPES = {(1, 2): "F16", (1, 4): "F32", (1, 8): "F64"}
"""(class, bytes) of a number -> its name, as safetensors spells it. Class 0 are whole numbers."""
HINT = "Save the model again, or download it again."


@dataclass(frozen=True)
class Dataset:
    """One array of numbers: its bytes in the file, little-endian."""

    type: str
    shape: tuple[int, ...]
    span: tuple[int, int]


def read_hdf5(source: Source, begin: int = 0, end: int | None = None) -> Mapping[str, Dataset]:
    """Every array by its path, as "layers/dense/vars/0". The HDF5 file lies at `begin : end` of `source`.

    Raises `FormatError` for a broken file, `UnsupportedError` for a layout that Keras does not write.
    """
    return dict(_Reader(source, begin, source.size if end is None else end).arrays())


class _Reader:
    def __init__(self, source: Source, begin: int, end: int) -> None:
        self._source, self._begin, self._size = source, begin, end - begin
        self._visited: set[int] = set()

    def arrays(self) -> Iterator[tuple[str, Dataset]]:
        head = self._bytes(0, 96)
        if head[:8] != SIGNATURE:
            raise self._broken("does not begin as HDF5 does")
        if head[8] != 0 or head[13:15] != b"\x08\x08":
            raise self._other("version", head[8])
        [root] = struct.unpack_from("<Q", head, 64)
        yield from self._object(root, "", 0)

    def _object(self, address: int, path: str, depth: int) -> Iterator[tuple[str, Dataset]]:
        if address in self._visited or len(self._visited) >= MAX_OBJECTS or depth > MAX_DEPTH:
            raise self._broken(f"has a loop, or too many objects, at {path[:80] or '/'}")
        self._visited.add(address)
        messages = self._messages(address)
        if GROUP in messages:
            tree, heap = self._numbers("<QQ", messages[GROUP], path)
            for name, child in self._entries(tree, heap, 0):
                yield from self._object(child, f"{path}/{name}" if path else name, depth + 1)
        elif any(kind in messages for kind in LINKS):
            raise self._other("a group of version", 2)
        elif LAYOUT in messages:
            yield path, self._dataset(messages, path)

    def _messages(self, address: int) -> dict[int, bytes]:
        """Kind -> bytes, of an object's header; the first of each kind."""
        head = self._bytes(address, 16)
        version, count, size = head[0], *struct.unpack_from("<H", head, 2), *struct.unpack_from("<I", head, 8)
        if version != 1 or count > MAX_MESSAGES:
            raise self._other("an object header of version", version)
        found: dict[int, bytes] = {}
        blocks = [(address + 16, size)]
        while blocks and count:
            place, size = blocks.pop(0)
            block, at = self._bytes(place, size), 0
            while at + 8 <= size and count:
                kind, length = struct.unpack_from("<HH", block, at)
                data = block[at + 8 : at + 8 + length]
                at, count = at + 8 + length, count - 1
                if kind == CONTINUED:
                    blocks.append(self._numbers("<QQ", data, "a header"))
                else:
                    found.setdefault(kind, data)
        return found

    def _entries(self, tree: int, heap: int, depth: int) -> Iterator[tuple[str, int]]:
        """(name, address) of everything in a group."""
        head = self._bytes(heap, 32)
        if head[:4] != b"HEAP":
            raise self._broken("has a group without names")
        size, _, names = struct.unpack_from("<QQQ", head, 8)
        for node in self._leaves(tree, depth):
            table = self._bytes(node, 8)
            if table[:4] != b"SNOD":
                raise self._broken("has a group without entries")
            [count] = struct.unpack_from("<H", table, 6)
            entries = self._bytes(node + 8, 40 * count)
            for at in range(0, 40 * count, 40):
                name, address = struct.unpack_from("<QQ", entries, at)
                yield self._name(names, name, size), address

    def _leaves(self, address: int, depth: int) -> Iterator[int]:
        """Nodes of a group's tree that hold entries, in order."""
        if address in self._visited or depth > MAX_DEPTH:
            raise self._broken("has a loop in a group")
        self._visited.add(address)
        head = self._bytes(address, 24)
        if head[:4] != b"TREE" or head[4] != 0:
            raise self._broken("has a group without a tree")
        level, count = head[5], *struct.unpack_from("<H", head, 6)
        pairs = self._bytes(address + 24, 16 * count + 8)
        for number in range(count):
            [child] = struct.unpack_from("<Q", pairs, 16 * number + 8)
            if level == 0:
                yield child
            else:
                yield from self._leaves(child, depth + 1)

    def _name(self, names: int, offset: int, size: int) -> str:
        if offset >= size:
            raise self._broken("has a name outside its group")
        raw = self._bytes(names + offset, min(size - offset, MAX_NAME)).partition(b"\0")[0]
        try:
            name = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self._broken("has a name that is not UTF-8") from None
        if not name or "/" in name:
            raise self._broken(f"has the name {name[:40]!r}")
        return name

    def _dataset(self, messages: Mapping[int, bytes], path: str) -> Dataset:
        if FILTERS in messages:
            raise UnsupportedError(
                f"{path[:80]} of {self._source.path} is compressed, which Keras never does."
            )
        shape = self._shape(messages.get(DATASPACE, b""), path)
        kind, size = self._type(messages.get(DATATYPE, b""), path)
        layout = messages[LAYOUT]
        if layout[:2] != bytes((3, CONTIGUOUS)):
            raise self._other(f"{path[:80]} in a layout of version", layout[0] if layout else 0)
        address, length = self._numbers("<QQ", layout[2:], path)
        if length != prod(shape) * size:
            raise self._broken(f"says that {path[:80]} of shape {shape} has {length} bytes")
        if not length:
            return Dataset(kind, shape, (self._begin, self._begin))
        if address == UNDEFINED or address + length > self._size:
            raise self._broken(f"says that {path[:80]} lies outside of it")
        return Dataset(kind, shape, (self._begin + address, self._begin + address + length))

    def _shape(self, data: bytes, path: str) -> tuple[int, ...]:
        if len(data) < 4 or data[0] not in (1, 2) or data[1] > MAX_DIMENSIONS:
            raise self._broken(f"says no shape of {path[:80]}")
        rank, start = data[1], 8 if data[0] == 1 else 4
        if len(data) < start + 8 * rank:
            raise self._broken(f"says no shape of {path[:80]}")
        shape = struct.unpack_from(f"<{rank}Q", data, start)
        if prod(shape) > 1 << 56:
            raise self._broken(f"says that {path[:80]} has the shape {shape}")
        return shape

    def _type(self, data: bytes, path: str) -> tuple[str, int]:
        """Name and bytes of a number; the lowest bit of the flags is set for those of big-endian machines."""
        if len(data) < 8:
            raise self._broken(f"says no type of {path[:80]}")
        sort, [size], is_big = data[0] & 0x0F, struct.unpack_from("<I", data, 4), data[1] & 1
        if sort == 0 and size in (1, 2, 4, 8) and not is_big:
            return f"{'I' if data[1] & 8 else 'U'}{8 * size}", size
        if (sort, size) not in TYPES or is_big:
            raise UnsupportedError(
                f"{path[:80]} of {self._source.path} holds no plain numbers (class {sort}, {size} bytes)."
            )
        return TYPES[sort, size], size

    def _numbers(self, form: str, data: bytes, path: str) -> tuple[int, int]:
        if len(data) < struct.calcsize(form):
            raise self._broken(f"is cut short at {path[:80]}")
        first, second = struct.unpack_from(form, data)
        return first, second

    def _bytes(self, address: int, size: int) -> bytes:
        if address + size > self._size:
            raise self._broken(f"points to byte {address + size}, and has {self._size}")
        begin = self._begin + address
        return bytes(self._source.data[begin : begin + size])

    def _broken(self, problem: str) -> FormatError:
        return FormatError(f"The HDF5 part of {self._source.path} {problem}.", hint=HINT)

    def _other(self, what: str, version: int) -> UnsupportedError:
        return UnsupportedError(
            f"The HDF5 part of {self._source.path} has {what} {version}, which Keras does not write.",
            hint="Save the model with Keras itself: model.save('model.keras').",
        )
