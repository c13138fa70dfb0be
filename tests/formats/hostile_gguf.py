"""Broken GGUF files: cut, lying, damaged at random, or strange in what they state."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

from gguf_layout import METADATA, Layout, gguf_layout, patched, replaced, with_key
from hostile_case import EXTREMES, Case
from hostile_gguf_known import gguf_case, known


def gguf_cases(seed: int) -> Iterator[Case]:
    for version in (2, 3):
        layout = gguf_layout(version)
        yield gguf_case(f"v{version} as it is", bytes(layout.data), "same")
        yield from _gguf_cuts(version, layout)
    layout = gguf_layout()
    yield from _gguf_lies(layout)
    yield from known(layout)
    yield from _gguf_flips(layout, seed)
    yield from _gguf_strange_values(layout)


def _gguf_cuts(version: int, layout: Layout) -> Iterator[Case]:
    """Cut at, before and after the start of every field, and in the middle of all data."""
    data = bytes(layout.data)
    needed = len(data)
    points = {start + shift for _, start, _ in layout.fields for shift in (-1, 0, 1)}
    points |= set(range(layout.place("padding"), len(data), 97)) | {len(data) - 1}
    for point in sorted(point for point in points if 0 <= point < needed):
        yield gguf_case(f"v{version} cut at {point}", data[:point], "error")


def _gguf_lies(layout: Layout) -> Iterator[Case]:
    """Every length, count, type, size and offset replaced by extreme numbers."""
    for name, start, size in layout.fields:
        if size not in (4, 8) or (
            name.startswith(("value", "item "))
            and "count" not in name
            and "type" not in name
            and "length" not in name
        ):
            continue
        original = int.from_bytes(layout.data[start : start + size], "little")
        for value in EXTREMES:
            value &= (1 << 8 * size) - 1
            if value != original:
                yield gguf_case(
                    f"{name} is {value}", patched(layout, start, value.to_bytes(size, "little")), "any"
                )
        for value in (original + 1, original * 2, max(original - 1, 0)):
            if value != original and value < 1 << 8 * size:
                yield gguf_case(
                    f"{name} is {value}", patched(layout, start, value.to_bytes(size, "little")), "any"
                )


def _gguf_flips(layout: Layout, seed: int) -> Iterator[Case]:
    """Random damage in the header."""
    dice = random.Random(seed)
    end = layout.place("padding")
    for number in range(300):
        data = bytearray(layout.data)
        for _ in range(dice.choice((1, 1, 2, 8))):
            data[dice.randrange(end)] = dice.randrange(256)
        yield gguf_case(f"damage {number}", bytes(data), "any")
    for number in range(60):
        start, size = dice.randrange(end), dice.randrange(1, 64)
        data = bytes(layout.data[:start] + layout.data[start + size :])
        yield gguf_case(f"{size} bytes missing at {start} ({number})", data, "any")


KEYS = [
    "general.name",
    "general.license",
    "general.sampling.temp",
    "general.sampling.top_k",
    "llama.context_length",
    "llama.feed_forward_length",
    "llama.attention.head_count_kv",
    "llama.attention.key_length",
    "llama.vocab_size",
    "llama.rope.dimension_count",
    "llama.rope.scaling.type",
    "llama.rope.scaling.factor",
    "llama.expert_count",
    "tokenizer.ggml.model",
    "tokenizer.ggml.pre",
    "tokenizer.ggml.bos_token_id",
    "tokenizer.ggml.eot_token_id",
    "tokenizer.chat_template",
    "split.count",
    "split.no",
    "general.alignment",
]


def _gguf_strange_values(layout: Layout) -> Iterator[Case]:
    """Keys that are read, with values of every type but the right one."""
    values = {
        "an empty text": (8, struct.pack("<Q", 0)),
        "a text": (8, struct.pack("<Q", 3) + b"abc"),
        "zero": (4, struct.pack("<I", 0)),
        "minus one": (5, struct.pack("<i", -1)),
        "huge": (10, struct.pack("<Q", (1 << 64) - 1)),
        "NaN": (6, struct.pack("<f", float("nan"))),
        "infinity": (12, struct.pack("<d", float("inf"))),
        "true": (7, b"\x01"),
        "an empty list": (9, struct.pack("<IQ", 4, 0)),
        "a list": (9, struct.pack("<IQ3I", 4, 3, 1, 2, 3)),
        "a list of one text": (9, struct.pack("<IQQ", 8, 1, 1) + b"x"),
    }
    architectures = ("llama", "gemma2", "gemma3", "phi3", "granite", "gpt2", "qwen3", "olmo2", "mamba")
    existing = {key for key, _, _ in METADATA}
    for name, (kind, raw) in values.items():
        for key in KEYS:
            if key not in existing:
                yield gguf_case(f"{key} is {name}", with_key(layout, key, kind, raw), "any")
    for architecture in architectures:
        swapped = replaced(layout, "value of general.architecture text", architecture.encode())
        yield gguf_case(
            f"architecture {architecture} without its keys",
            swapped.replace(
                struct.pack("<Q", 5) + architecture.encode(),
                struct.pack("<Q", len(architecture)) + architecture.encode(),
            ),
            "any",
        )
