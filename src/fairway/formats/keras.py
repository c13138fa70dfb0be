"""Keras's own archive, `.keras`: layers as JSON and their numbers in HDF5, read without Keras.

The config names classes; none is looked up or called. The rule: an archive's entry is stored as it is, lies
inside the file, and its name is one of the three that Keras writes.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fairway.errors import FormatError, UnsupportedError
from fairway.formats.bundle import Bundle, GenerationDefaults, TensorInfo
from fairway.formats.floats import FLOATS, Bytes, dense_tensor
from fairway.formats.hdf5 import Dataset, read_hdf5
from fairway.formats.json_text import parse_object
from fairway.formats.keras_archive import CONFIG, WEIGHTS
from fairway.formats.source import Source
from fairway.formats.torch_archive import BROKEN_ZIP, place
from fairway.tensors import DenseTensor

MAX_CONFIG_BYTES = 64 << 20
HINT = "Save it again: model.save('model.keras')."


@dataclass(frozen=True)
class KerasTensors:
    """`FileTensors` of an archive; names are the paths of the HDF5 part."""

    source: Source
    datasets: Mapping[str, Dataset]

    @property
    def sources(self) -> tuple[Source, ...]:
        return (self.source,)

    @property
    def infos(self) -> Mapping[str, TensorInfo]:
        return {
            name: TensorInfo(name, each.type, each.shape, each.span[1] - each.span[0])
            for name, each in self.datasets.items()
        }

    def read(self, name: str) -> DenseTensor:
        """F32 and F16 only."""
        found = self.datasets[name]
        if found.type not in FLOATS:
            raise UnsupportedError(
                f"{name[:120]} of {self.source.path} is {found.type}, no float to compute with."
            )
        return dense_tensor(found.type, self.stored(name), found.shape)

    def stored(self, name: str) -> Bytes:
        begin, end = self.datasets[name].span
        if begin == end:
            return np.zeros(0, np.uint8)
        return np.frombuffer(self.source.data, np.uint8, end - begin, begin)


def keras_bundle(path: Path) -> Bundle:
    """Raises `FormatError` for a broken archive; `config` is the archive's config.json."""
    source = Source(path)
    try:
        with source.open() as file, zipfile.ZipFile(file) as archive:
            config = archive.getinfo(CONFIG)
            if config.file_size > MAX_CONFIG_BYTES:
                raise FormatError(f"{CONFIG} in {path} would take {config.file_size:,} bytes.", hint=HINT)
            values = parse_object(archive.read(config), f"{path} ({CONFIG})")
            entry = archive.getinfo(WEIGHTS)
            begin = place(entry, source)
    except BROKEN_ZIP as error:
        raise FormatError(f"{path} is a damaged Keras archive: {str(error)[:80]}.", hint=HINT) from None
    found = read_hdf5(source, begin, begin + entry.file_size)
    kept = {name: each for name, each in found.items() if not name.startswith("optimizer/")}
    return Bundle(
        name=path.stem,
        path=path,
        container="keras",
        config=values,
        tensors=KerasTensors(source, kept),
        tokenizer=None,
        chat_template=None,
        generation=GenerationDefaults(),
        end_of_text_ids=(),
        sources=(source,),
    )
