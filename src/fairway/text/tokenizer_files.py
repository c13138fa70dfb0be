"""Reads the small files of a Hugging Face tokenizer: text, JSON objects, vocabularies, added tokens.

Everything that is not what it should be ends in one `FormatError` that names the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from fairway.errors import FormatError

_MAX_FILE_BYTES = 256 << 20


def parse_declared(declared: Mapping[str, Any], path: Path) -> dict[int, AddedToken]:
    """`added_tokens_decoder` as the library's tokens, by id."""
    flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
    tokens = {}
    try:
        for token_id, entry in declared.items():
            options = {flag: bool(entry.get(flag, False)) for flag in flags}
            tokens[int(token_id)] = AddedToken(entry["content"], **options)
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise FormatError(f"The added tokens beside {path} are broken: {error}.") from error
    return tokens


def read_vocabulary(path: Path) -> dict[str, int]:
    table = read_object(path)
    if not all(isinstance(token_id, int) and 0 <= token_id < 1 << 31 for token_id in table.values()):
        raise FormatError(f"{path} must map each piece to its id.")
    if len(set(table.values())) != len(table):
        raise FormatError(f"{path} gives one id to several pieces.")
    return table


def read_object_if_present(files: Mapping[str, Path], name: str) -> dict[str, Any]:
    return read_object(files[name]) if name in files else {}


def read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path} is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise FormatError(f"{path} must hold a JSON object, not {type(value).__name__}.")
    return value


def read_text(path: Path) -> str:
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not UTF-8 text (byte {error.start}).") from error


def read_bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise FormatError(
                f"{path} is larger than {_MAX_FILE_BYTES >> 20} MiB, too large for a tokenizer."
            )
        return path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path} cannot be read: {error.strerror}.") from error
