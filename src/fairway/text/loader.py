"""The door: builds the right tokenizer and the chat template for a bundle.

The rule: what a source is called decides who reads it, and nobody guesses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from fairway.errors import UnsupportedError
from fairway.text.chat_template import ChatTemplate, default_template
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


def load_template(
    template: str | None, tokenizer: Tokenizer, *, clock: Callable[[], datetime] = datetime.now
) -> ChatTemplate:
    """A model's own template, or the default for one that brings none, with its tokenizer's markers.

    Raises `FormatError` where the template is broken.
    """

    def text(token_id: int | None) -> str:
        return "" if token_id is None else tokenizer.token_text(token_id)

    return ChatTemplate(
        template or default_template(tokenizer.token_id),
        bos_token=text(tokenizer.bos_token_id),
        eos_token=text(tokenizer.eos_token_id),
        special_tokens={"adds_bos": "yes" if tokenizer.adds_bos else ""},
        clock=clock,
    )
