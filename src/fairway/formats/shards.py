"""A checkpoint in several files, joined by `model.safetensors.index.json` or `pytorch_model.bin.index.json`.

The index names a plain file of the same folder for every tensor; nothing else is ever opened.
Each shard's header is checked in full; shards are mapped when one of their tensors is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fairway.errors import FormatError, ModelNotFound
from fairway.formats.bundle import FileTensors, TensorInfo
from fairway.formats.floats import Bytes
from fairway.formats.json_text import read_object
from fairway.formats.safetensors import open_safetensors
from fairway.formats.source import Source
from fairway.formats.torch_checkpoint import open_torch
from fairway.tensors import WeightTensor

MAX_SHARDS = 10_000
READERS: Mapping[str, Callable[[Path], FileTensors]] = {".safetensors": open_safetensors, ".bin": open_torch}
INDEX_SUFFIXES = tuple(f"{suffix}.index.json" for suffix in READERS)
HINT = "Download the missing or damaged files of the checkpoint again."


@dataclass(frozen=True)
class Shards:
    """Several files as one set of tensors."""

    path: Path
    files: Mapping[str, FileTensors]
    place: Mapping[str, str]
    infos: Mapping[str, TensorInfo]

    @property
    def sources(self) -> tuple[Source, ...]:
        return tuple(source for file in self.files.values() for source in file.sources)

    def read(self, name: str) -> WeightTensor:
        """One tensor from the shard that the index names."""
        return self._file(name).read(name)

    def stored(self, name: str) -> Bytes:
        return self._file(name).stored(name)

    def _file(self, name: str) -> FileTensors:
        if name not in self.place:
            raise FormatError(f"{self.path} has no tensor {name!r}.", hint=HINT)
        return self.files[self.place[name]]


def open_shards(index: Path) -> Shards:
    """`index` is a `*.safetensors.index.json` or `*.bin.index.json`; its shards lie beside it."""
    suffix = next(suffix for suffix in READERS if index.name.endswith(f"{suffix}.index.json"))
    place = _weight_map(index, suffix)
    files: dict[str, FileTensors] = {}
    for file_name in dict.fromkeys(place.values()):
        try:
            files[file_name] = READERS[suffix](index.parent / file_name)
        except ModelNotFound:
            raise FormatError(f"{index} names {file_name[:120]!r}, which is missing.", hint=HINT) from None
    infos = {name: _info(index, file_name, files[file_name], name) for name, file_name in place.items()}
    return Shards(index, files, place, infos)


def _weight_map(index: Path, suffix: str) -> dict[str, str]:
    place = read_object(index).get("weight_map")
    if not isinstance(place, dict) or not place:
        raise FormatError(f"{index} has no weight_map that names a file for each tensor.", hint=HINT)
    if not all(isinstance(name, str) for name in place.values()):
        raise FormatError(f"{index} has a weight_map that names something else than files.", hint=HINT)
    file_names = set(place.values())
    if len(file_names) > MAX_SHARDS:
        raise FormatError(f"{index} names more than {MAX_SHARDS} files.", hint=HINT)
    for file_name in file_names:
        _check_file_name(index, file_name, suffix)
    return place


def _check_file_name(index: Path, name: str, suffix: str) -> None:
    if not name.endswith(suffix) or len(name) > 255:
        raise FormatError(f"{index} names {name[:120]!r}, not a {suffix} file.", hint=HINT)
    if any(char in name for char in "/\\:\0"):
        raise FormatError(
            f"{index} names {name[:120]!r}, which lies outside its folder; it was not opened.",
            hint="Shards must lie beside the index: do not trust this checkpoint.",
        )


def _info(index: Path, file_name: str, file: FileTensors, name: str) -> TensorInfo:
    if name not in file.infos:
        raise FormatError(
            f"{index} says that {file_name!r} holds {name[:120]!r}, but it does not.", hint=HINT
        )
    return file.infos[name]
