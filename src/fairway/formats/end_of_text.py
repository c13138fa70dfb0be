"""Every id that ends an answer, gathered from all the places a model states one.

config.json, generation_config.json, the tokenizer's eos token, GGUF's eos/eot/eom keys, and the
well-known end-of-turn tokens that the vocabulary marks as special. Missing one of these is why
models "never stop". Rule: a token that is ordinary text in this vocabulary never ends an answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

WELL_KNOWN = (
    "</s>",
    "<eos>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|eot|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<end_of_turn>",
    "<turn|>",
    "<|end_of_turn|>",
    "<EOT>",
    "<|EOT|>",
    "<｜end▁of▁sentence｜>",
)
GGUF_KEYS = ("eos_token_id", "eot_token_id", "eom_token_id")

CONTROL, USER_DEFINED = 3, 4
"""tokenizer.ggml.token_type"""


def end_of_text_ids(stated: Iterable[Any], special: Mapping[str, int]) -> tuple[int, ...]:
    """`stated`: ids or lists of ids; `special`: spelling -> id of the special tokens. Sorted, each once."""
    ids: set[int] = set()
    for value in stated:
        for item in value if isinstance(value, list) else [value]:
            if type(item) is int and 0 <= item < 1 << 31:
                ids.add(item)
    ids |= {special[text] for text in WELL_KNOWN if text in special and not _ends_only_a_part(text, special)}
    return tuple(sorted(ids))


def _ends_only_a_part(text: str, special: Mapping[str, int]) -> bool:
    """In gpt-oss, <|end|> closes one channel of an answer; <|return|> ends it."""
    return text == "<|end|>" and "<|return|>" in special


def gguf_special_tokens(metadata: Mapping[str, Any]) -> dict[str, int]:
    """Spelling -> id of the control tokens, and of end-of-turn tokens that a converter left user-defined."""
    tokens, types = metadata.get("tokenizer.ggml.tokens"), metadata.get("tokenizer.ggml.token_type")
    if not isinstance(tokens, list) or not isinstance(types, list):
        return {}
    turns = {text for text in WELL_KNOWN if text.startswith(("<|", "<end", "<turn"))}
    return {
        text: index
        for index, (text, kind) in enumerate(zip(tokens, types, strict=False))
        if isinstance(text, str) and (kind == CONTROL or (kind == USER_DEFINED and text in turns))
    }


def gguf_stated(metadata: Mapping[str, Any]) -> list[Any]:
    return [metadata.get(f"tokenizer.ggml.{key}") for key in GGUF_KEYS]
