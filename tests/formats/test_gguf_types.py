"""Every block type against values that llama.cpp's own package computed (make_goldens.py)."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from fairway.formats.gguf_types import (
    BY_NAME,
    CHUNK_WEIGHTS,
    REMOVED,
    TYPES,
    decode_float32,
    decode_grouped,
    grouped_to_float32,
)

GOLDENS = json.loads((Path(__file__).parent / "data" / "blocks.json").read_text())["types"]
QUANTISED = [name for name, kind in BY_NAME.items() if kind.decode]


def golden(name):
    blocks, values = (base64.b64decode(GOLDENS[name][key]) for key in ("blocks", "values"))
    return np.frombuffer(blocks, np.uint8), np.frombuffer(values, "<f4")


def test_every_quantised_type_has_a_golden():
    assert sorted(GOLDENS) == sorted(QUANTISED)
    assert len(QUANTISED) == 12


@pytest.mark.parametrize("name", QUANTISED)
def test_values_equal_those_of_the_reference_bit_for_bit(name):
    blocks, values = golden(name)
    found = decode_float32(BY_NAME[name], blocks)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values)


EXPECTED = {
    "Q4_0": (4, 32, 8, False), "Q4_1": (4, 32, 0, True), "Q5_0": (5, 32, 16, False), "Q5_1": (5, 32, 0, True),
    "Q8_0": (8, 32, 0, False), "Q2_K": (4, 16, 0, True), "Q3_K": (4, 16, 4, False), "Q4_K": (4, 32, 0, True),
    "Q5_K": (5, 32, 0, True), "Q6_K": (6, 16, 32, False), "IQ4_NL": (8, 32, 0, False),
    "IQ4_XS": (8, 32, 0, False),
}  # fmt: skip


@pytest.mark.parametrize("name", QUANTISED)
def test_grouped_form_is_exact_and_of_the_promised_shape(name):
    blocks, values = golden(name)
    columns = BY_NAME[name].block_size * (2 if len(values) % 1024 else 4)
    rows = len(values) // columns
    grouped = decode_grouped(BY_NAME[name], blocks, rows, columns)
    bits, group, zero, has_offsets = EXPECTED[name]
    assert (grouped.bits, grouped.group, grouped.zero) == (bits, group, zero)
    assert (grouped.offsets is not None) == has_offsets
    assert grouped.shape == (rows, columns)
    assert grouped.values.dtype == (np.int8 if bits == 8 else np.uint8)
    assert bits == 8 or grouped.values.max() < 1 << bits
    assert grouped.scales.shape == (rows, columns // group)
    np.testing.assert_array_equal(grouped_to_float32(grouped).reshape(-1), values)


def test_many_blocks_are_decoded_in_chunks_with_the_same_result():
    blocks, values = golden("Q4_K")
    copies = CHUNK_WEIGHTS // len(values) + 3
    found = decode_grouped(BY_NAME["Q4_K"], np.tile(blocks, copies), copies, len(values))
    np.testing.assert_array_equal(grouped_to_float32(found), np.tile(values, (copies, 1)))


@pytest.mark.parametrize(
    ("name", "values"),
    [("F32", [1.5, -2.0]), ("F16", [1.5, -2.0]), ("BF16", [1.5, -2.0])],
)
def test_plain_types_are_read_as_they_are(name, values):
    raw = {
        "F32": np.array(values, "<f4"),
        "F16": np.array(values, "<f2"),
        "BF16": np.array([0x3FC0, 0xC000], "<u2"),
    }[name]
    np.testing.assert_array_equal(decode_float32(BY_NAME[name], raw.view(np.uint8)), values)


def test_ids_and_names_are_unique_and_known_types_are_complete():
    assert len(BY_NAME) == len(TYPES)
    assert not set(TYPES) & set(REMOVED)
    assert sorted(set(TYPES) | set(REMOVED)) == list(range(42))
