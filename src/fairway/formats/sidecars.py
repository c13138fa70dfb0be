"""The small files beside the weights: config, generation defaults, tokenizer, template, licence.

Each is read with a size limit and is optional here; who needs one says so. Knows no tensors.
A model repository is a stranger's folder: every value is checked for its type before it is used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fairway.errors import FormatError
from fairway.formats.bundle import GenerationDefaults, TokenizerSource
from fairway.formats.end_of_text import end_of_text_ids
from fairway.formats.json_text import read_object
from fairway.formats.source import Source

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.model",
)
VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model")
"""One of these must be there for a folder to have a tokenizer at all."""
MAX_TEMPLATE_BYTES = 1 << 20
MAX_HEAD_BYTES = 4 << 20
"""tokenizer.json may have 30 MB; its list of added tokens stands at the beginning."""
ADDED_TOKENS = re.compile(r'"added_tokens"\s*:\s*(?=\[)')


@dataclass(frozen=True)
class AddedToken:
    id: int
    special: bool
    """It carries meaning and no text."""


@dataclass(frozen=True)
class Sidecars:
    """The sidecar files of one folder, read when asked for."""

    folder: Path

    @cached_property
    def config(self) -> dict[str, Any]:
        return self._object("config.json")

    @cached_property
    def tokenizer_config(self) -> dict[str, Any]:
        return self._object("tokenizer_config.json")

    @cached_property
    def generation_config(self) -> dict[str, Any]:
        return self._object("generation_config.json")

    @cached_property
    def tokenizer(self) -> TokenizerSource | None:
        files = {name: self.folder / name for name in TOKENIZER_FILES if (self.folder / name).is_file()}
        if not any(name in files for name in VOCABULARIES):
            return None
        return TokenizerSource("huggingface", files)

    def generation(self) -> GenerationDefaults:
        return generation_defaults(self.generation_config)

    def chat_template(self) -> str | None:
        path = self.folder / "chat_template.jinja"
        if path.is_file():
            return _text(path, MAX_TEMPLATE_BYTES)
        stated = self._object("chat_template.json").get("chat_template")
        return named_template(self.tokenizer_config.get("chat_template")) or named_template(stated)

    def end_of_text_ids(self) -> tuple[int, ...]:
        text_config = self.config.get("text_config")
        stated = [
            self.config.get("eos_token_id"),
            text_config.get("eos_token_id") if isinstance(text_config, dict) else None,
            self.generation_config.get("eos_token_id"),
            self._token_id(self.tokenizer_config.get("eos_token")),
            self._token_id(self._object("special_tokens_map.json").get("eos_token")),
        ]
        special = {content: row.id for content, row in self.added_tokens.items() if row.special}
        return end_of_text_ids(stated, special)

    def _token_id(self, token: object) -> int | None:
        content = _content(token)
        return self.added_tokens[content].id if content in self.added_tokens else None

    @cached_property
    def added_tokens(self) -> dict[str, AddedToken]:
        """Spelling -> id of the tokens outside the ordinary vocabulary."""
        decoder = self.tokenizer_config.get("added_tokens_decoder")
        if isinstance(decoder, dict) and decoder:
            rows = [fields | {"id": key} for key, fields in decoder.items() if isinstance(fields, dict)]
        else:
            rows = self._listed_tokens()
        found = {}
        for row in rows:
            content, token_id = row.get("content"), str(row.get("id"))
            if isinstance(content, str) and _is_id(token_id):
                found[content] = AddedToken(int(token_id), row.get("special") is True)
        return found or self._old_special_tokens()

    def _old_special_tokens(self) -> dict[str, AddedToken]:
        """Folders without a list of added tokens: the named special tokens, looked up in vocab.json."""
        names = [_content(value) for value in self._object("special_tokens_map.json").values()]
        names.append(_content(self.tokenizer_config.get("eos_token")))
        ids = self._object("vocab.json") | self._object("added_tokens.json") if any(names) else {}
        return {name: AddedToken(ids[name], True) for name in names if name and type(ids.get(name)) is int}

    def _listed_tokens(self) -> list[dict[str, Any]]:
        path = self.folder / "tokenizer.json"
        if not path.is_file():
            return []
        source = Source(path)
        head = source.read(0, min(source.size, MAX_HEAD_BYTES)).decode("utf-8", "replace")
        match = ADDED_TOKENS.search(head)
        if match is None:
            return []
        try:
            rows, _ = json.JSONDecoder().raw_decode(head, match.end())
        except (ValueError, RecursionError) as error:
            raise FormatError(
                f"The added tokens of {path} are broken.", hint="Download the tokenizer again."
            ) from error
        return [row for row in rows if isinstance(row, dict)]

    def _object(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        return read_object(path) if path.exists() else {}


def generation_defaults(values: Mapping[str, Any]) -> GenerationDefaults:
    """From generation_config.json; what is not a number counts as not stated."""

    def number(name: str) -> float | None:
        value: Any = values.get(name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return float(value) if is_number and -1e9 < value < 1e9 else None

    def integer(name: str) -> int | None:
        value = values.get(name)
        return value if type(value) is int and 0 < value < 1 << 31 else None

    sampled = values.get("do_sample") is not False
    return GenerationDefaults(
        temperature=number("temperature") if sampled else 0.0,
        top_k=integer("top_k"),
        top_p=number("top_p"),
        min_p=number("min_p"),
        repetition_penalty=number("repetition_penalty"),
        max_tokens=integer("max_new_tokens"),
    )


def named_template(value: object) -> str | None:
    """A template, or the one called "default" of a list of named ones (else the first)."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        return None
    named = {
        str(row.get("name")): row["template"]
        for row in value
        if isinstance(row, dict) and isinstance(row.get("template"), str)
    }
    return named.get("default") or next(iter(named.values()), None)


def _content(value: object) -> str | None:
    """A token is written as its text, or as an object that holds it."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else None


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _text(path: Path, max_bytes: int) -> str:
    source = Source(path)
    if source.size > max_bytes:
        raise FormatError(f"{path} has {source.size} bytes, at most {max_bytes} are read.")
    try:
        return source.read(0, source.size).decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not UTF-8 at byte {error.start}.") from error
