"""A tokenizer for any vocabulary size: byte-level BPE whose words are made-up strings of letters.

Every engine needs a tokenizer that fits a random-weight model. This one has all bytes, and then
" a", " b", ... " aa", " ab", ... in order of length until the vocabulary is full. Each word is made
from the one before it by one merge, so a text of such words is one token a word everywhere.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from string import ascii_lowercase
from typing import Any

END = "<|end|>"
SPACE = "Ġ"
"""How byte-level BPE writes a space."""


def byte_letters() -> list[str]:
    """The 256 letters by which byte-level BPE stands for bytes, in its usual order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]


def words() -> Iterator[str]:
    """a, b, ... z, aa, ab, ..."""
    for length in itertools.count(1):
        yield from map("".join, itertools.product(ascii_lowercase, repeat=length))


def tokens(size: int) -> list[str]:
    """Exactly `size` tokens, the end of text first."""
    letters = byte_letters()
    made = [SPACE + word for word in itertools.islice(words(), size - len(letters) - 1)]
    return [END, *letters, *made]


def merges(size: int) -> list[tuple[str, str]]:
    """One for each word: all but its last letter, and its last letter."""
    return [(token[:-1], token[-1]) for token in tokens(size)[257:]]


def tokenizer_json(size: int) -> dict[str, Any]:
    special = {"id": 0, "content": END, "special": True, "normalized": False,
               "lstrip": False, "rstrip": False, "single_word": False}  # fmt: skip
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": {token: index for index, token in enumerate(tokens(size))},
        "merges": [list(pair) for pair in merges(size)],
    }
    empty = {"truncation": None, "padding": None, "normalizer": None, "post_processor": None}
    return {"version": "1.0", **empty, "added_tokens": [special], "pre_tokenizer": byte_level,
            "decoder": byte_level, "model": model}  # fmt: skip


def write_tokenizer(folder: Path, size: int, context: int) -> None:
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "pad_token": END,
              "model_max_length": context, "clean_up_tokenization_spaces": False}  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json(size)), "utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
