"""Broken safetensors files: headers, entries, layouts, cuts and random damage."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

from hostile_case import EXTREMES, Case


def safetensors_header() -> dict[str, object]:
    return {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [4, 8], "data_offsets": [0, 128]},
        "b": {"dtype": "F16", "shape": [3, 5], "data_offsets": [128, 158]},
        "c": {"dtype": "BF16", "shape": [], "data_offsets": [158, 160]},
        "d": {"dtype": "F32", "shape": [0, 4], "data_offsets": [160, 160]},
        "e": {"dtype": "I64", "shape": [2], "data_offsets": [160, 176]},
    }


DATA = bytes(range(176))


def safetensors_bytes(header: object, data: bytes = DATA) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + data


def safetensors_cases(seed: int) -> Iterator[Case]:
    whole = safetensors_bytes(safetensors_header())
    yield _st("as it is", whole, "same")
    for point in range(0, len(whole), 2):
        yield _st(f"cut at {point}", whole[:point], "error")
    header_length = len(whole) - len(DATA) - 8
    for length in (*EXTREMES, header_length - 1, header_length + 1, len(whole), len(whole) - 8):
        yield _st(f"header length {length}", length.to_bytes(8, "little") + whole[8:], "error")
    yield from _st_raw_headers()
    yield from _st_entries()
    yield from _st_harmless()
    yield from _st_flips(whole, seed)


def _st(name: str, data: bytes, expect: str) -> Case:
    return Case(f"safetensors: {name}", {"model.safetensors": data}, expect, "model.safetensors")


def _st_raw_headers() -> Iterator[Case]:
    good = json.dumps(safetensors_header())
    for raw in (
        b"",
        b"{",
        b"[]",
        b"null",
        b"1",
        b'"text"',
        b"{}",
        b"{}x",
        b"\xff\xfe{}",
        b"\xef\xbb\xbf{}",
        b"{'a': 1}",
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a": {}}',
        b'{"a": []}',
        b'{"a": null}',
        b'{"a":' * 5000,
        b"[" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[" * 900 + b"]" * 900,
        b'{"__metadata__": 5}',
        b'{"__metadata__": {"a": 5}}',
        b'{"a\\ud800": {}}',
        b'{"a": ' + b"9" * 6000 + b"}",
        (good[:-1] + ', "a": {"dtype": "F32", "shape": [4, 8], "data_offsets": [0, 128]}}').encode(),
        good.replace('"dtype": "F32"', '"dtype": "F32", "dtype": "F16"', 1).encode(),
        good.replace('"a"', '"a\\ud800"').encode(),
        good.encode().replace(b"__metadata__", b"__metadata\xff_"),
        good.encode("utf-16"),
        good.encode() + b"\0",
        good.encode() + b"]",
        b"\0" * 64,
    ):
        yield _st(f"header {raw[:24]!r} of {len(raw)}", safetensors_bytes(raw), "error")
    for raw in (
        b"[[]," * 300_000,
        b'{"a":[' + b"{}," * 2_000_000,
        b"1," * 4_000_000,
        b'"' + b"x" * (15 << 20),
        b'"' + "\U0001f600".encode() * (3 << 20),
    ):
        yield _st(f"header {raw[:12]!r} of {len(raw)}", safetensors_bytes(raw), "error")
    many = {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(65_000)}
    yield _st("65,000 empty tensors", safetensors_bytes(many, b""), "any")
    same = {f"t{i}": {"dtype": "U8", "shape": [176], "data_offsets": [0, 176]} for i in range(65_000)}
    yield _st("65,000 tensors on the same bytes", safetensors_bytes(same), "error")

    def hole(folder: Path) -> None:
        with (folder / "model.safetensors").open("r+b") as file:
            file.truncate(100 << 30)

    for length in (0, 2, 50 << 20, 1 << 35):
        yield Case(
            f"safetensors: a sparse file with a header of {length}",
            {"model.safetensors": length.to_bytes(8, "little") + b"{}"},
            "error",
            "model.safetensors",
            hole,
        )


SAME_SIZE = {("c", "F16"), ("e", "F64"), ("e", "C64")}


def _st_entries() -> Iterator[Case]:
    numbers = [-1, 1.5, "4", None, True, [], {}, 1 << 63, 1 << 64, 10**400, 3, 127, 129, 1 << 40]
    for tensor in ("a", "b", "c", "d", "e"):
        for number in numbers:
            for position in (0, 1):
                header = safetensors_header()
                offsets = header[tensor]["data_offsets"]
                if offsets[position] != number:
                    offsets[position] = number
                    yield _st(
                        f"offset {position} of {tensor} is {str(number)[:20]}",
                        safetensors_bytes(header),
                        "error",
                    )
            header = safetensors_header()
            header[tensor]["shape"] = [number, *header[tensor]["shape"][1:]]
            yield _st(
                f"shape of {tensor} begins with {str(number)[:20]}",
                safetensors_bytes(header),
                "any"
                if (tensor == "d" and number in (3, 127, 129, 1 << 40)) or (tensor, number) == ("b", 3)
                else "error",
            )
        for shape in (None, 4, "4", {}, [[4]], [1] * 65, [1 << 32, 1 << 32], [(1 << 62) + 8, 4], [0] * 4):
            header = safetensors_header()
            header[tensor]["shape"] = shape
            harmless = tensor == "d" and shape == [0] * 4
            yield _st(
                f"shape of {tensor} is {str(shape)[:20]}",
                safetensors_bytes(header),
                "any" if harmless else "error",
            )
        for dtype in (
            "F33",
            "f32",
            "",
            None,
            5,
            [],
            {},
            "F64",
            "F16" if tensor != "b" else "F32",
            "C64",
            "F4",
        ):
            header = safetensors_header()
            header[tensor]["dtype"] = dtype
            harmless = (tensor == "d" and dtype in ("F64", "F16", "C64", "F4")) or (
                tensor,
                str(dtype),
            ) in SAME_SIZE
            yield _st(
                f"dtype of {tensor} is {dtype!r}", safetensors_bytes(header), "any" if harmless else "error"
            )
        for key in ("dtype", "shape", "data_offsets"):
            header = safetensors_header()
            del header[tensor][key]
            yield _st(f"{tensor} has no {key}", safetensors_bytes(header), "error")
        for value in (None, 1, "x", [], [1, 2]):
            header = safetensors_header()
            header[tensor] = value
            yield _st(f"{tensor} is {value!r}", safetensors_bytes(header), "error")
        if tensor != "d":
            header = safetensors_header()
            del header[tensor]
            yield _st(f"{tensor} is missing, its bytes are not", safetensors_bytes(header), "error")
        header = safetensors_header() | {"thief": safetensors_header()[tensor]}
        yield _st(
            f"a second tensor on the bytes of {tensor}",
            safetensors_bytes(header),
            "any" if tensor == "d" else "error",
        )
    yield _st("bytes after the last tensor", safetensors_bytes(safetensors_header(), DATA + b"x"), "error")
    yield _st("one byte too few", safetensors_bytes(safetensors_header(), DATA[:-1]), "error")


def _st_harmless() -> Iterator[Case]:
    header = safetensors_header()
    turned = dict(reversed(header.items()))
    spaced = json.dumps(header, indent=3).encode() + b" " * 77
    escaped = json.dumps(header).replace('"a"', '"\\u0061"').encode()
    without = {name: value for name, value in header.items() if name != "__metadata__"}
    for name, variant in (
        ("turned", turned),
        ("spaced", spaced),
        ("escaped", escaped),
        ("without metadata", without),
    ):
        yield _st(f"header {name}", safetensors_bytes(variant), "same")
    for shift in range(1, 9):
        yield _st(
            f"data off alignment by {shift}",
            safetensors_bytes(json.dumps(header).encode() + b" " * shift),
            "same",
        )


def _st_flips(whole: bytes, seed: int) -> Iterator[Case]:
    dice = random.Random(seed + 1)
    end = len(whole) - len(DATA)
    for number in range(300):
        data = bytearray(whole)
        for _ in range(dice.choice((1, 1, 2, 8))):
            data[dice.randrange(end)] = dice.randrange(256)
        yield _st(f"damage {number}", bytes(data), "any")
