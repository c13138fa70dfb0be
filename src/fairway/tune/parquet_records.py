"""Parquet through pyarrow, a row group at a time."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from fairway.errors import FormatError, MissingExtra
from fairway.tune.rows import RowError

INSTALL = "pip install 'fairway[parquet]'"


class ParquetRecords:
    """Rows of one file; the row group that was read last is kept."""

    format = "Parquet"

    def __init__(self, path: Path) -> None:
        try:
            arrow, parquet = (importlib.import_module(name) for name in ("pyarrow", "pyarrow.parquet"))
        except ImportError:
            raise MissingExtra(
                f"{path} is a Parquet file, and pyarrow is not installed.", hint=f"Run: {INSTALL}."
            ) from None
        self.path = path
        self._library_error: type[Exception] = arrow.ArrowException
        try:
            self._file = parquet.ParquetFile(path)
        except (self._library_error, OSError) as error:
            raise FormatError(f"{path} is a broken Parquet file: {_one_line(error)}.") from None
        self._first: list[int] = [0]
        for group in range(self._file.num_row_groups):
            self._first.append(self._first[-1] + self._file.metadata.row_group(group).num_rows)
        self._group, self._rows = -1, list[dict[str, Any]]()

    def __len__(self) -> int:
        return self._first[-1]

    def place(self, index: int) -> str:
        return f"row {index + 1}"

    def record(self, index: int) -> dict[str, Any]:
        group = next(i for i, first in enumerate(self._first[1:]) if index < first)
        if group != self._group:
            try:
                self._rows = self._file.read_row_group(group).to_pylist()
            except (self._library_error, OSError) as error:
                raise RowError("parquet", f"the row group cannot be read: {_one_line(error)}.") from None
            self._group = group
        row = self._rows[index - self._first[group]]
        return {name: _without_nulls(value) for name, value in row.items() if value is not None}


def _without_nulls(value: Any) -> Any:  # noqa: ANN401 (as deep as the file goes)
    """Parquet gives every struct all fields of its type; those that are not set are not there."""
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
