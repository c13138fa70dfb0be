"""Broken GGUF files whose only right answer is known, and harmless changes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from gguf_layout import Layout, relaid, replaced, with_key
from hostile_case import Case


def gguf_case(name: str, data: bytes, expect: str) -> Case:
    return Case(f"gguf: {name}", {"model.gguf": data}, expect, "model.gguf")


def known(layout: Layout) -> Iterator[Case]:
    """Changes whose only right answer is known."""
    u32, u64 = (lambda value: struct.pack("<I", value)), (lambda value: struct.pack("<Q", value))
    errors = {
        "magic is GGML": ("magic", b"GGML"),
        "magic is backwards": ("magic", b"FUGG"),
        "version 1": ("version", u32(1)),
        "version 4": ("version", u32(4)),
        "big-endian version": ("version", struct.pack(">I", 3)),
        "bad UTF-8 in a key": ("key some.flag text", b"some\xff\xfelag"),
        "bad UTF-8 in a value": ("value of general.architecture text", b"\xc3\x28ama"),
        "bad UTF-8 in a token": ("item 2 of tokenizer.ggml.tokens text", b"\x80"),
        "bad UTF-8 in a tensor name": ("tensor output_norm.weight text", b"\xff" * 18),
        "the same key twice": ("key some.long text", b"some.flag"),
        "a boolean of 2": ("value of some.flag", b"\x02"),
        "unknown value type": ("type of some.flag", u32(13)),
        "unknown item type": ("item type of tokenizer.ggml.scores", u32(99)),
        "unknown tensor type": ("type of token_embd.weight", u32(999)),
        "retired tensor type": ("type of token_embd.weight", u32(4)),
        "five dimensions": ("dimensions of token_embd.weight", u32(5)),
        "a dimension of zero": ("size 0 of token_embd.weight", u64(0)),
        "dimensions that overflow 64 bits": ("size 1 of token_embd.weight", u64(1 << 60)),
        "dimensions whose product wraps to something small": (
            "size 0 of token_embd.weight",
            u64((1 << 62) + 32),
        ),
        "rows of half a block": ("size 0 of blk.0.attn_q.weight", u64(48)),
        "offset off the alignment": ("offset of blk.0.attn_q.weight", u64(513)),
        "offset past the end": ("offset of output_norm.weight", u64(1 << 33)),
        "offset that wraps": ("offset of output_norm.weight", u64((1 << 64) - 32)),
        "two tensors on the same bytes": ("offset of blk.0.attn_q.weight", u64(0)),
        "tensors that overlap in part": ("offset of blk.0.attn_k.weight", u64(1024 - 32)),
        "head count of zero": ("value of llama.attention.head_count", u32(0)),
        "heads that do not divide the rows": ("value of llama.attention.head_count", u32(7)),
        "an architecture that is not text": ("type of general.architecture", u32(4)),
    }
    for name, (place, raw) in errors.items():
        yield gguf_case(name, replaced(layout, place, raw), "error")
    yield gguf_case(
        "two tensors of one name", bytes(layout.data).replace(b"blk.0.attn_k", b"blk.0.attn_q"), "error"
    )
    for alignment, expect in ((0, "error"), (3, "error"), (48, "error"), (1 << 31, "error"), (32, "same")):
        yield gguf_case(
            f"alignment {alignment}", with_key(layout, "general.alignment", 4, u32(alignment)), expect
        )
    yield gguf_case("alignment is text", with_key(layout, "general.alignment", 8, u64(2) + b"32"), "error")
    deep = b"".join(u32(9) + u64(1) for _ in range(2000)) + u32(4) + u64(0)
    yield gguf_case("arrays nested 2000 deep", with_key(layout, "deep", 9, deep), "error")
    yield gguf_case(
        "arrays nested twice",
        with_key(layout, "deep", 9, u32(9) + u64(1) + u32(4) + u64(1) + u32(5)),
        "same",
    )
    wide = u32(9) + u64(100_000) + (u32(4) + u64(0)) * 100_000
    yield gguf_case("a hundred thousand empty arrays", with_key(layout, "wide", 9, wide), "same")
    empty_texts = u32(8) + u64(3_000_000) + u64(0) * 3_000_000
    yield gguf_case("three million empty texts", with_key(layout, "wide", 9, empty_texts), "error")
    short_texts = u32(8) + u64(1_900_000) + (u64(2) + b"ab") * 1_900_000
    yield gguf_case("1.9 million short texts", with_key(layout, "wide", 9, short_texts), "same")
    long_text = "\U0001f600".encode() + b"x" * (23 << 20)
    yield gguf_case("a text of 23 MB", with_key(layout, "text", 8, u64(len(long_text)) + long_text), "same")
    yield gguf_case(
        "a text of 25 MB", with_key(layout, "text", 8, u64(25 << 20) + b"x" * (25 << 20)), "error"
    )
    numbers = u32(6) + u64(1_900_000) + b"\x01\x02\x03\x04" * 1_900_000
    yield gguf_case("1.9 million numbers", with_key(layout, "wide", 9, numbers), "same")
    yield gguf_case("an empty key", with_key(layout, "", 4, u32(1)), "same")
    yield gguf_case("bytes after the last tensor", bytes(layout.data) + b"\xff" * 100, "same")
    yield gguf_case("only a magic", b"GGUF", "error")
    yield gguf_case("nothing at all", b"", "error")
    for alien in (b"\x80\x04N.", b"PK\x03\x04" + b"\0" * 40, b"\0" * 100, b"<html></html>", b'{"a":1}'):
        yield gguf_case(f"not GGUF but {alien[:6]!r}", alien, "error")

    def hole(folder: Path) -> None:
        with (folder / "model.gguf").open("r+b") as file:
            file.truncate(100 << 30)

    yield Case(
        "gguf: a hundred gigabytes of nothing",
        {"model.gguf": b"GGUF" + u32(3) + u64(90_000) + u64(60_000)},
        "error",
        "model.gguf",
        hole,
    )
    sparse = b"GGUF" + u32(3) + u64(0) + u64(1) + u64(1) + b"a" + u32(9)
    for kind, count in ((0, 50 << 30), (8, 1 << 30), (9, 1 << 30), (6, 1 << 31)):
        yield Case(
            f"gguf: a sparse array of type {kind}",
            {"model.gguf": sparse + u32(kind) + u64(count)},
            "error",
            "model.gguf",
            hole,
        )
    parts = {f"m-0000{part}-of-00002.gguf": b"GGUF" for part in (1, 2)}
    yield Case("gguf: broken parts", parts, "error", "m-00001-of-00002.gguf")
    yield Case(
        "gguf: one of two parts",
        {"m-00001-of-00002.gguf": bytes(layout.data)},
        "error",
        "m-00001-of-00002.gguf",
    )
    yield Case(
        "gguf: part 0", {"m-00000-of-00002.gguf": bytes(layout.data)}, "error", "m-00000-of-00002.gguf"
    )
    yield Case(
        "gguf: 99999 parts", {"m-00001-of-99999.gguf": bytes(layout.data)}, "error", "m-00001-of-99999.gguf"
    )
    twice = with_key(
        relaid(layout, "split.count", 2, struct.pack("<H", 2)), "split.no", 2, struct.pack("<H", 0)
    )
    yield Case("gguf: a part without its name", {"model.gguf": twice}, "error", "model.gguf")
    second = with_key(
        relaid(layout, "split.count", 2, struct.pack("<H", 2)), "split.no", 2, struct.pack("<H", 1)
    )
    yield Case(
        "gguf: two parts with the same tensors",
        {"m-00001-of-00002.gguf": twice, "m-00002-of-00002.gguf": second},
        "error",
        "m-00002-of-00002.gguf",
    )
    yield Case(
        "gguf: the same part twice",
        {"m-00001-of-00002.gguf": twice, "m-00002-of-00002.gguf": twice},
        "error",
        "m-00001-of-00002.gguf",
    )
