"""A file of examples: rows by number, of the one shape that was detected, and errors that name the line."""

from __future__ import annotations

from pathlib import Path

from fairway.errors import FormatError
from fairway.registry.progress import Progress
from fairway.tune.records import Records, open_records
from fairway.tune.rows import Row, RowError
from fairway.tune.shapes import Record, Shape, row_of, shape_of

LOOKED_AT = 100
"""Rows in which one that can be read is sought, to tell the shape."""


class Dataset:
    """Rows of one file. Not thread-safe."""

    def __init__(self, records: Records, shape: Shape) -> None:
        self.path = records.path
        self.format = records.format
        self.shape = shape
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    def row(self, index: int) -> Row:
        """Raises `RowError` with the file's name and the line."""
        try:
            return row_of(self.shape, self._records.record(index))
        except RowError as error:
            raise self.placed(index, error) from None

    def record(self, index: int) -> Record:
        """The row as it is written."""
        return self._records.record(index)

    def placed(self, index: int, error: FormatError) -> RowError:
        """The same error, saying where."""
        kind = error.kind if isinstance(error, RowError) else "template"
        return RowError(kind, f"{self.path.name} {self.place(index)}: {error.message}", hint=error.hint)

    def place(self, index: int) -> str:
        """ "line 12" """
        return self._records.place(index)


def open_dataset(path: Path, progress: Progress | None = None) -> Dataset:
    """Raises `UsageError` or `FormatError` where no row can be read."""
    records = open_records(path, progress)
    if not len(records):
        raise FormatError(f"{path} holds no rows.", hint="Every row is one example.")
    first: RowError | None = None
    for index in range(min(len(records), LOOKED_AT)):
        try:
            return Dataset(records, shape_of(records.record(index)))
        except RowError as error:
            place = f"{path.name} {records.place(index)}"
            first = first or RowError(error.kind, f"{place}: {error.message}", hint=error.hint)
    assert first is not None
    raise first
