"""Broken checkpoints of several files: indexes that lie, shards that are missing, outside or in a ring."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

from hostile_case import Case
from hostile_safetensors import DATA, safetensors_bytes, safetensors_header

INDEX = "model.safetensors.index.json"


def shard_cases(seed: int) -> Iterator[Case]:
    shard = safetensors_bytes(safetensors_header())
    other = safetensors_bytes({"z": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, DATA[:8])
    names = dict.fromkeys("abcde", "model-00001-of-00002.safetensors") | {
        "z": "model-00002-of-00002.safetensors"
    }
    files = {"model-00001-of-00002.safetensors": shard, "model-00002-of-00002.safetensors": other}

    def case(name: str, index: object, expect: str = "error", prepare=None, extra=None) -> Case:
        raw = index if isinstance(index, bytes) else json.dumps(index).encode()
        return Case(f"shards: {name}", files | {INDEX: raw} | (extra or {}), expect, "", prepare)

    good = {"metadata": {"total_size": 184}, "weight_map": names}
    yield case("as they are", good, "same")
    yield case("without metadata", {"weight_map": names}, "same")
    for raw in (
        b"",
        b"[]",
        b"{",
        b"null",
        b"\xff",
        b"{}",
        b'{"weight_map": 1}',
        b'{"weight_map": {}}',
        b'{"weight_map": []}',
        b'{"weight_map": {"a": 1}}',
        b'{"weight_map": {"a": null}}',
        b'{"weight_map": {"a": "x", "a": "y"}}',
        b"[" * 50_000,
        b'{"weight_map":' * 3000,
    ):
        yield case(f"index {raw[:30]!r}", raw)
    outside = [
        "../secret.safetensors",
        "/etc/passwd",
        "/dev/zero",
        "/dev/zero.safetensors",
        "..",
        ".",
        "",
        "a/b.safetensors",
        "..\\x.safetensors",
        "C:x.safetensors",
        "x\0.safetensors",
        "x" * 300 + ".safetensors",
        "\U0001f600" * 100 + ".safetensors",
        "missing.safetensors",
        INDEX,
        "config.json",
        "model.safetensors/",
        "\ud83d\ude00.safetensors",
        "~/.safetensors",
        "$HOME.safetensors",
    ]
    for place in outside:
        yield case(f"a shard at {place[:30]!r}", {"weight_map": names | {"a": place}})
    yield case(
        "a tensor in the wrong shard", {"weight_map": names | {"a": "model-00002-of-00002.safetensors"}}
    )
    yield case(
        "a tensor that no shard has", {"weight_map": names | {"q": "model-00002-of-00002.safetensors"}}
    )
    whole = json.dumps(good).encode()
    for point in range(0, len(whole), 9):
        yield case(f"index cut at {point}", whole[:point])
    for point in range(0, len(shard), 37):
        yield case(
            f"first shard cut at {point}", good, extra={"model-00001-of-00002.safetensors": shard[:point]}
        )
    for point in range(len(other)):
        yield case(
            f"second shard cut at {point}", good, extra={"model-00002-of-00002.safetensors": other[:point]}
        )
    many = {"weight_map": {f"t{i}": "model-00002-of-00002.safetensors" for i in range(300_000)}}
    yield case("three hundred thousand tensors of one shard", many)
    thousands = {"weight_map": {f"t{i}": f"s{i}.safetensors" for i in range(50_000)}}
    yield case("fifty thousand shards", thousands)

    def loop(folder: Path) -> None:
        path = folder / "model-00002-of-00002.safetensors"
        path.unlink()
        path.symlink_to(path.name)

    def ring(folder: Path) -> None:
        first, second = (folder / name for name in files)
        first.unlink()
        second.unlink()
        first.symlink_to(second.name)
        second.symlink_to(first.name)

    def to_index(folder: Path) -> None:
        path = folder / "model-00002-of-00002.safetensors"
        path.unlink()
        path.symlink_to(INDEX)

    def pipe(folder: Path) -> None:
        path = folder / "model-00002-of-00002.safetensors"
        path.unlink()
        os.mkfifo(path)

    def device(folder: Path) -> None:
        path = folder / "model-00002-of-00002.safetensors"
        path.unlink()
        path.symlink_to("/dev/zero")

    def directory(folder: Path) -> None:
        path = folder / "model-00002-of-00002.safetensors"
        path.unlink()
        path.mkdir()

    def index_loop(folder: Path) -> None:
        (folder / INDEX).unlink()
        (folder / INDEX).symlink_to(INDEX)

    for name, prepare in (
        ("a link to itself", loop),
        ("a ring of links", ring),
        ("a link to the index", to_index),
        ("a pipe", pipe),
        ("a device", device),
        ("a folder", directory),
        ("an index that links to itself", index_loop),
    ):
        yield case(f"a shard is {name}", good, prepare=prepare)
    dice = random.Random(seed + 2)
    for number in range(120):
        data = bytearray(whole)
        for _ in range(dice.choice((1, 2, 4))):
            data[dice.randrange(len(data))] = dice.randrange(256)
        yield case(f"damage {number}", bytes(data), "any")
