"""What the first bytes of a file say about it: where its text begins, or why it cannot be read."""

from __future__ import annotations

from pathlib import Path

from fairway.errors import FormatError

HEAD_BYTES = 4096
UTF8_MARK = b"\xef\xbb\xbf"
# First bytes -> what such a file is and what to do. UTF-32's mark begins with UTF-16's.
REFUSED = (
    (b"\xff\xfe\x00\x00", "UTF-32", "iconv -f UTF-32 -t UTF-8 OLD > NEW"),
    (b"\x00\x00\xfe\xff", "UTF-32", "iconv -f UTF-32 -t UTF-8 OLD > NEW"),
    (b"\xff\xfe", "UTF-16", "iconv -f UTF-16 -t UTF-8 OLD > NEW"),
    (b"\xfe\xff", "UTF-16", "iconv -f UTF-16 -t UTF-8 OLD > NEW"),
    (b"\x1f\x8b", "compressed with gzip", "gunzip FILE"),
    (b"BZh", "compressed with bzip2", "bunzip2 FILE"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unzstd FILE"),
    (b"PK\x03\x04", "a zip archive", "unzip FILE; a spreadsheet is saved as CSV"),
)
PARQUET = b"PAR1"


def head(path: Path) -> bytes:
    """The first bytes. Raises `FormatError` for an empty file."""
    with path.open("rb") as file:
        found = file.read(HEAD_BYTES)
    if not found:
        raise FormatError(f"{path} is empty.", hint="Every row is one example.")
    return found


def text_start(path: Path, beginning: bytes) -> int:
    """How many bytes stand before the text: those of a UTF-8 mark, if there is one.

    Raises `FormatError` naming what the file is instead of UTF-8 text.
    """
    for mark, kind, command in REFUSED:
        if beginning.startswith(mark):
            raise FormatError(f"{path} line 1: the file is {kind}, not UTF-8 text.", hint=f"Run: {command}.")
    if order := _utf16_order(beginning):
        raise FormatError(
            f"{path} line 1: the file is UTF-16 ({order}, without a mark), not UTF-8 text.",
            hint=f"Run: iconv -f UTF-16{order} -t UTF-8 OLD > NEW.",
        )
    return len(UTF8_MARK) if beginning.startswith(UTF8_MARK) else 0


def _utf16_order(beginning: bytes) -> str | None:
    """Latin text has a zero in every second byte, and in no other."""
    even, odd = beginning[0::2].count(0), beginning[1::2].count(0)
    if min(even, odd) > max(even, odd) * 0.2 or max(even, odd) < len(beginning) * 0.4:
        return None
    return "BE" if even > odd else "LE"
