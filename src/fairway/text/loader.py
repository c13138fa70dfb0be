"""The door: builds the right tokenizer for a bundle.

The rule: what a source is called decides who reads it, and nobody guesses.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from fairway.errors import UnsupportedError
from fairway.text.gguf_tokenizer import load_gguf
from fairway.text.huggingface_tokenizer import load_huggingface
from fairway.text.tokenizer import Tokenizer


class Source(Protocol):
    """The part of `formats.bundle.TokenizerSource` that is read here."""

    @property
    def kind(self) -> str: ...
    @property
    def files(self) -> Mapping[str, Path]: ...
    @property
    def metadata(self) -> Mapping[str, Any]: ...


def load_tokenizer(source: Source) -> Tokenizer:
    """The tokenizer of a bundle.

    Raises `FormatError` for broken files and `UnsupportedError`, naming what is missing, for tokenizers
    that Fairway does not have.
    """
    if source.kind == "huggingface":
        return load_huggingface(source.files)
    if source.kind == "gguf":
        return load_gguf(source.metadata)
    raise UnsupportedError(f"Tokenizers of kind {source.kind!r} are not supported.")
