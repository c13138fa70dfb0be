"""Sound weights beside sidecar files that are not what they should be."""

from __future__ import annotations

import json
from collections.abc import Iterator

from hostile_case import Case
from hostile_safetensors import safetensors_bytes, safetensors_header

SIDECARS = [
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.json",
    "tokenizer.json",
    "added_tokens.json",
    "vocab.json",
    "chat_template.jinja",
    "README.md",
    "LICENSE",
]


def sidecar_cases() -> Iterator[Case]:
    """A sound safetensors file beside sidecars that are not what they should be."""
    strange = [
        None,
        True,
        -1,
        0,
        1.5,
        10**400,
        1e308,
        "",
        "text",
        "\x1b[31m",
        [],
        [[]],
        [None],
        {},
        {"a": 1},
        [{"content": 5}],
    ]
    keys = [
        "eos_token_id",
        "eos_token",
        "chat_template",
        "added_tokens_decoder",
        "temperature",
        "top_k",
        "max_new_tokens",
        "text_config",
        "model_type",
        "num_hidden_layers",
        "num_attention_heads",
        "hidden_size",
        "vocab_size",
        "quantization_config",
        "added_tokens",
        "max_position_embeddings",
    ]
    model = {"model.safetensors": safetensors_bytes(safetensors_header())}
    for raw in (
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 2000,
        b"{}",
        b'{"a": 1, "a": 2}',
        b'{"added_tokens": [',
        b'{"added_tokens": ' + b"[" * 100_000,
        b"---\nlicense: [\n---",
        b"x" * (2 << 20),
    ):
        for name in SIDECARS:
            yield Case(f"sidecar: {name} is {raw[:20]!r} of {len(raw)}", model | {name: raw}, "any", "")
    for key in keys:
        for value in strange:
            raw = json.dumps({key: value}).encode()
            yield Case(
                f"sidecar: {key} is {str(value)[:20]!r}", model | dict.fromkeys(SIDECARS[:8], raw), "any", ""
            )
    tokens = {"special": True, "content": "</s>"}
    for number in ("0", "-1", "x", "1e5", "\u00b2", "9" * 30, ""):
        raw = json.dumps({"added_tokens_decoder": {number: tokens}, "eos_token": "</s>"}).encode()
        yield Case(f"sidecar: token id {number[:10]!r}", model | {"tokenizer_config.json": raw}, "any", "")
