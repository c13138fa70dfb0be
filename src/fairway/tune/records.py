"""Files of rows: any row by its number, each an object with names, and the place a person finds it at.

JSON lines, CSV and plain text are indexed and read row by row, however large; a JSON list is read whole,
Parquet a row group at a time. What a row means is not known here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

from fairway.errors import FormatError, UsageError
from fairway.registry.progress import Progress
from fairway.tune.encodings import PARQUET, head, text_start
from fairway.tune.line_index import LineIndex, decoded
from fairway.tune.rows import RowError

MAX_LIST_BYTES = 1 << 30
LONG_NUMBER = "a number has thousands of digits."
TEXT_ENDINGS = (".txt", ".text", ".md")
CSV_ENDINGS = (".csv", ".tsv")
PARQUET_ENDING = ".parquet"


class Records(Protocol):
    """The rows of one file. Not thread-safe."""

    @property
    def path(self) -> Path: ...
    @property
    def format(self) -> str:
        """As a person calls it."""
        ...

    def __len__(self) -> int: ...

    def record(self, index: int) -> dict[str, Any]:
        """One row. Raises `RowError` without the place."""
        ...

    def place(self, index: int) -> str:
        """ "line 12" """
        ...


def open_records(path: Path, progress: Progress | None = None) -> Records:
    """By what the file holds, and by its ending where text could be several things.

    Raises `UsageError` where there is no such file and `FormatError` where it cannot be read as rows.
    """
    if not path.is_file():
        what = "a folder" if path.is_dir() else "a pipe or a device" if path.exists() else "not there"
        raise UsageError(
            f"{path} is {what}; data is one file on disk.", hint="JSON lines, JSON, CSV, Parquet or text."
        )
    beginning = head(path)
    if beginning.startswith(PARQUET):
        from fairway.tune.parquet_records import ParquetRecords

        return ParquetRecords(path)
    ending = path.suffix.lower()
    if ending == PARQUET_ENDING:
        raise FormatError(
            f"{path} is no Parquet file: it begins with {beginning[:8]!r}.", hint="Was it downloaded whole?"
        )
    start = text_start(path, beginning)
    if ending in CSV_ENDINGS:
        from fairway.tune.csv_records import CsvRecords

        return CsvRecords(path, start, progress)
    if ending in TEXT_ENDINGS:
        return TextLines(path, start, progress)
    if beginning[start:].lstrip().startswith(b"["):
        return JsonList(path, start)
    return JsonLines(path, start, progress)


class _Lines:
    """A row per line."""

    def __init__(self, path: Path, start: int, progress: Progress | None = None) -> None:
        self.path = path
        self._lines = LineIndex(path, start, progress)

    def __len__(self) -> int:
        return len(self._lines)

    def place(self, index: int) -> str:
        return f"line {self._lines.numbers[index]}"


class JsonLines(_Lines):
    """An object per line."""

    format = "JSON lines"

    def record(self, index: int) -> dict[str, Any]:
        text = self._lines.text(index)
        try:
            return as_record(json.loads(text, parse_constant=_no_number), text)
        except json.JSONDecodeError as error:
            raise _broken(error) from None
        except ValueError:
            raise RowError("json", LONG_NUMBER) from None
        except RecursionError:
            raise RowError("json", "the JSON is nested too deeply.") from None


class TextLines(_Lines):
    """A text per line."""

    format = "text"

    def record(self, index: int) -> dict[str, Any]:
        return {"text": self._lines.text(index)}


class JsonList:
    """One list of objects, held in memory."""

    format = "JSON"

    def __init__(self, path: Path, start: int) -> None:
        self.path = path
        size = path.stat().st_size
        if size > MAX_LIST_BYTES:
            raise FormatError(
                f"{path} has {size:,} bytes; a JSON list of at most {MAX_LIST_BYTES:,} is read.",
                hint="Write JSON lines, one object per line: jq -c '.[]' OLD > NEW.jsonl.",
            )
        raw = path.read_bytes()[start:]
        try:
            text = decoded(raw)
        except RowError as error:
            line = raw[: _invalid_at(raw)].count(b"\n") + 1
            raise FormatError(f"{path} line {line}: {error.message}", hint=error.hint) from None
        self._values, self._numbers = _list_of(text, path)

    def __len__(self) -> int:
        return len(self._values)

    def record(self, index: int) -> dict[str, Any]:
        return as_record(self._values[index], None)

    def place(self, index: int) -> str:
        return f"line {self._numbers[index]}"


def as_record(value: object, text: str | None) -> dict[str, Any]:
    """An object whose texts are Unicode. `text` is what it was parsed from, where that is known."""
    if not isinstance(value, dict):
        raise RowError("json", f"the row is a JSON {type(value).__name__}, not an object.")
    if text is None or "\\u" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise RowError("json", "the row holds half a surrogate pair (an emoji cut in two).") from None
    return value


def _list_of(text: str, path: Path) -> tuple[list[Any], list[int]]:
    """The values of a JSON list and the line that each begins on."""
    decoder = json.JSONDecoder(parse_constant=_no_number)
    values: list[Any] = []
    numbers: list[int] = []
    line, seen, at = 1, 0, _skip(text, text.index("[") + 1)
    try:
        while at < len(text) and text[at] != "]":
            line, seen = line + text.count("\n", seen, at), at
            value, at = decoder.raw_decode(text, at)
            values.append(value)
            numbers.append(line)
            at = _next(text, at)
        _require_end(text, at)
    except json.JSONDecodeError as error:
        raise FormatError(
            f"{path} line {error.lineno}: not valid JSON ({error.msg}, column {error.colno}).",
            hint="Nothing after it was read.",
        ) from None
    except RowError as error:
        raise FormatError(f"{path} line {line}: {error.message}") from None
    except ValueError:
        raise FormatError(f"{path} line {line}: {LONG_NUMBER}") from None
    except RecursionError:
        raise FormatError(f"{path} line {line}: the JSON is nested too deeply.") from None
    return values, numbers


def _next(text: str, at: int) -> int:
    """The place of the next value, or of the bracket that ends the list."""
    at = _skip(text, at)
    if text[at : at + 1] == ",":
        return _skip(text, at + 1)
    if text[at : at + 1] != "]":
        raise json.JSONDecodeError("a comma or ] is missing", text, at)
    return at


def _require_end(text: str, at: int) -> None:
    if text[at : at + 1] != "]" or text[at + 1 :].strip():
        raise json.JSONDecodeError("the list does not end, or something follows it", text, at)


def _skip(text: str, at: int) -> int:
    while text[at : at + 1] and text[at] in " \t\r\n":
        at += 1
    return at


def _invalid_at(raw: bytes) -> int:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start
    return len(raw)


def _broken(error: json.JSONDecodeError) -> RowError:
    old = "\r" in error.doc and "\r\n" not in error.doc
    hint = r"Its lines end as on an old Mac: tr '\r' '\n' < OLD > NEW." if old else None
    return RowError("json", f"not valid JSON ({error.msg}, column {error.pos + 1}).", hint=hint)


def _no_number(name: str) -> float:
    raise RowError("json", f"{name} is no number in JSON.")
