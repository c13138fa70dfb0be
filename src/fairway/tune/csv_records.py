"""CSV and TSV: the first line names the columns, a quoted cell may hold line breaks.

Only the byte where each row begins is kept. Cells that hold lists or objects are JSON, as data sets with
conversations write them.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from fairway.errors import FormatError
from fairway.registry.progress import Progress
from fairway.tune.line_index import MAX_LINE_BYTES, decoded
from fairway.tune.rows import RowError

DELIMITERS = ",;\t"
JSON_COLUMNS = {"messages", "conversations", "tools", "functions"}
TELL_EVERY = 10_000


class CsvRecords:
    """Rows with named cells; empty cells are left out."""

    format = "CSV"

    def __init__(self, path: Path, start: int, progress: Progress | None = None) -> None:
        self.path = path
        csv.field_size_limit(MAX_LINE_BYTES)
        self._starts: list[tuple[int, int]] = []
        self._delimiter = ","
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(start)
            self._header = self._read_header(file)
            for count, found in enumerate(self._scan(file), 1):
                self._starts.append(found)
                if progress is not None and count % TELL_EVERY == 0:
                    progress(found[0], size, "")

    def __len__(self) -> int:
        return len(self._starts)

    def place(self, index: int) -> str:
        return f"line {self._starts[index][1]}"

    def record(self, index: int) -> dict[str, Any]:
        with self.path.open("rb") as file:
            file.seek(self._starts[index][0])
            cells, _ = self._cells(file)
        if len(cells) != len(self._header):
            raise RowError("csv", f"the row has {len(cells)} cells and the header {len(self._header)}.")
        named = zip(self._header, cells, strict=True)
        return {name: _value(name, cell) for name, cell in named if cell != ""}

    def _read_header(self, file: BinaryIO) -> list[str]:
        start = file.tell()
        first = file.readline(MAX_LINE_BYTES)
        self._delimiter = max(DELIMITERS, key=lambda each: first.count(each.encode()))
        file.seek(start)
        try:
            header, self._header_lines = self._cells(file)
        except RowError as error:
            raise FormatError(f"{self.path} line 1: {error.message}", hint=error.hint) from None
        names = [name.strip() for name in header]
        twice = next((name for at, name in enumerate(names) if name and name in names[:at]), None)
        if twice is not None:
            raise FormatError(
                f"{self.path} line 1: two columns are called {twice!r}.", hint="Rename or remove one of them."
            )
        return names

    def _scan(self, file: BinaryIO) -> Iterator[tuple[int, int]]:
        """(byte, line) of every row. A row that is broken is one line long, and told when it is read."""
        line = 1 + self._header_lines
        while True:
            at = file.tell()
            try:
                cells, lines = self._cells(file)
            except RowError:
                file.seek(at)
                _skip_line(file)
                cells, lines = ["broken"], 1
            if file.tell() == at:
                return
            if cells:
                yield at, line
            line += lines

    def _cells(self, file: BinaryIO) -> tuple[list[str], int]:
        """The cells of the row that begins here, and how many lines it has."""
        reader = csv.reader(_lines(file), delimiter=self._delimiter, strict=True)
        try:
            cells = next(reader, [])
        except csv.Error as error:
            raise RowError("csv", f"not valid CSV ({error}).") from None
        return cells, reader.line_num


def _lines(file: BinaryIO) -> Iterator[str]:
    """Lines from here on, as many as one row may have."""
    left = MAX_LINE_BYTES
    while left > 0:
        raw = file.readline(left)
        if not raw:
            return
        left -= len(raw)
        yield decoded(raw)
    raise RowError(
        "line-length",
        f"the row has more than {MAX_LINE_BYTES:,} bytes.",
        hint='Is a quotation mark (") not closed?',
    )


def _skip_line(file: BinaryIO) -> None:
    while (raw := file.readline(MAX_LINE_BYTES)) and not raw.endswith(b"\n"):
        pass


def _value(name: str, cell: str) -> Any:  # noqa: ANN401 (as deep as JSON goes)
    """A text that looks like JSON stays one, unless only JSON can be meant."""
    if cell[0] not in "[{" or cell[-1] not in "]}":
        return cell
    try:
        value = json.loads(cell)
    except ValueError:
        return cell
    except RecursionError:
        raise RowError("json", f"the JSON in {name} is nested too deeply.") from None
    return value if name in JSON_COLUMNS or _is_conversation(value) else cell


def _is_conversation(value: object) -> bool:
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(item, dict) and ("role" in item or "from" in item) for item in value)
