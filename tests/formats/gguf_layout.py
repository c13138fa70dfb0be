"""A small valid GGUF file laid out by hand, every field's place known, and ways to change one field."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Layout:
    """A file under construction that remembers where each field lies."""

    data: bytearray = field(default_factory=bytearray)
    fields: list[tuple[str, int, int]] = field(default_factory=list)

    def add(self, name: str, raw: bytes) -> None:
        self.fields.append((name, len(self.data), len(raw)))
        self.data += raw

    def u32(self, name: str, value: int) -> None:
        self.add(name, struct.pack("<I", value))

    def u64(self, name: str, value: int) -> None:
        self.add(name, struct.pack("<Q", value))

    def string(self, name: str, text: bytes) -> None:
        self.u64(f"{name} length", len(text))
        self.add(f"{name} text", text)

    def place(self, name: str) -> int:
        return next(start for label, start, _ in self.fields if label == name)


METADATA = [
    ("general.architecture", 8, b"llama"),
    ("general.name", 8, "ein Modell \u2603".encode()),
    ("llama.block_count", 4, struct.pack("<I", 1)),
    ("llama.embedding_length", 4, struct.pack("<I", 32)),
    ("llama.attention.head_count", 4, struct.pack("<I", 2)),
    ("llama.attention.layer_norm_rms_epsilon", 6, struct.pack("<f", 1e-5)),
    ("llama.rope.freq_base", 12, struct.pack("<d", 10000.0)),
    ("some.flag", 7, b"\x01"),
    ("some.long", 11, struct.pack("<q", -5)),
    ("some.short", 3, struct.pack("<h", -5)),
    ("tokenizer.ggml.tokens", 9, (8, [b"<s>", b"</s>", b"a", b"b"])),
    ("tokenizer.ggml.scores", 9, (6, [struct.pack("<f", float(i)) for i in range(4)])),
    ("tokenizer.ggml.token_type", 9, (5, [struct.pack("<i", i) for i in (3, 3, 1, 1)])),
    ("tokenizer.ggml.eos_token_id", 4, struct.pack("<I", 1)),
]
TENSORS = [
    ("token_embd.weight", (32, 4), 0, 512),
    ("blk.0.attn_q.weight", (32, 32), 2, 576),
    ("blk.0.attn_k.weight", (32, 32), 1, 2048),
    ("blk.0.ffn_norm.weight", (32,), 0, 128),
    ("blk.0.ffn_up.weight", (256, 2), 12, 288),
    ("output_norm.weight", (32,), 30, 64),
]


def gguf_layout(version: int = 3) -> Layout:
    """A small valid model with a tensor of several types."""
    out = Layout()
    out.add("magic", b"GGUF")
    out.u32("version", version)
    out.u64("tensor count", len(TENSORS))
    out.u64("key count", len(METADATA))
    for key, kind, value in METADATA:
        out.string(f"key {key}", key.encode())
        out.u32(f"type of {key}", kind)
        _gguf_value(out, key, kind, value)
    offset = 0
    for name, sizes, kind, num_bytes in TENSORS:
        out.string(f"tensor {name}", name.encode())
        out.u32(f"dimensions of {name}", len(sizes))
        for axis, size in enumerate(sizes):
            out.u64(f"size {axis} of {name}", size)
        out.u32(f"type of {name}", kind)
        out.u64(f"offset of {name}", offset)
        offset += -(-num_bytes // 32) * 32
    out.add("padding", b"\0" * (-len(out.data) % 32))
    numbers = np.random.default_rng(7)
    for name, _, _, num_bytes in TENSORS:
        raw = numbers.integers(0, 60, num_bytes, dtype=np.uint8).tobytes()
        out.add(f"data of {name}", raw + b"\0" * (-num_bytes % 32))
    return out


def _gguf_value(out: Layout, key: str, kind: int, value) -> None:
    if kind == 8:
        out.string(f"value of {key}", value)
    elif kind == 9:
        out.u32(f"item type of {key}", value[0])
        out.u64(f"item count of {key}", len(value[1]))
        for index, item in enumerate(value[1]):
            if value[0] == 8:
                out.string(f"item {index} of {key}", item)
            else:
                out.add(f"item {index} of {key}", item)
    else:
        out.add(f"value of {key}", value)


def patched(layout: Layout, start: int, raw: bytes) -> bytes:
    data = bytearray(layout.data)
    data[start : start + len(raw)] = raw
    return bytes(data)


def replaced(layout: Layout, name: str, raw: bytes) -> bytes:
    _, start, size = next(row for row in layout.fields if row[0] == name)
    return bytes(layout.data[:start] + raw + layout.data[start + size :])


def with_key(layout: Layout, key: str, kind: int, raw: bytes) -> bytes:
    return bytes(relaid(layout, key, kind, raw).data)


def relaid(layout: Layout, key: str, kind: int, raw: bytes) -> Layout:
    """The same model with one more key in front; the data moves to its next alignment."""
    begin, end = layout.place(f"tensor {TENSORS[0][0]} length"), layout.place("padding")
    keys = layout.place(f"key {METADATA[0][0]} length")
    count = int.from_bytes(layout.data[16:24], "little")
    out = Layout(bytearray(layout.data[:16] + struct.pack("<Q", count + 1)))
    out.data += struct.pack("<Q", len(key)) + key.encode() + struct.pack("<I", kind) + raw
    shift = len(out.data) - keys
    out.data += layout.data[keys:begin] + layout.data[begin:end]
    padding = -len(out.data) % 32
    data = layout.place(f"data of {TENSORS[0][0]}")
    out.fields = [(name, start + shift, size) for name, start, size in layout.fields]
    out.data += b"\0" * padding
    moved = len(out.data) - data
    out.fields = [
        (name, start - shift + moved if name.startswith("data") else start, size)
        for name, start, size in out.fields
    ]
    out.data += layout.data[data:]
    return out
