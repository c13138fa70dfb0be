"""Packing slice by slice: the bytes of the matrix packed whole, and of what quantize.py computes."""

import os
import tempfile
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairway.kernels.extension import native, native_isas
from fairway.kernels.native_backend import NativeBackend
from fairway.kernels.packing import Form, Kind, kind_of
from fairway.kernels.quantize import quantize_int8, quantize_low
from fairway.models.conversion import to_bf16
from fairway.tensors import DenseTensor, GroupedTensor

pytestmark = pytest.mark.skipif(not native_isas(), reason="the reference does not pack")
QUANTIZE = {"int8": quantize_int8, **{f"int{bits}": partial(quantize_low, bits=bits) for bits in (4, 5, 6)}}
KINDS = {"int8": Kind("int8")} | {f"int{bits}": Kind(f"int{bits}", zero=1 << bits - 1) for bits in (4, 5, 6)}
isas = pytest.mark.parametrize("isa", native_isas())


def dense(weight: np.ndarray, kind: str) -> DenseTensor:
    return DenseTensor(kind, to_bf16(weight) if kind == "bf16" else weight.astype(kind.replace("f", "float")))


def floats(tensor: DenseTensor) -> np.ndarray:
    if tensor.type == "bf16":
        return (tensor.values.astype(np.uint32) << 16).view(np.float32)
    return tensor.values.astype(np.float32)


def sliced(tensor, cuts: list[int]):
    rows = tensor.shape[0]
    for start, end in zip([0, *cuts], [*cuts, rows], strict=True):
        if isinstance(tensor, DenseTensor):
            yield DenseTensor(tensor.type, tensor.values[start:end])
        else:
            part = slice(start, end)
            offsets = None if tensor.offsets is None else tensor.offsets[part]
            values, scales = tensor.values[part], tensor.scales[part]
            yield GroupedTensor(tensor.bits, tensor.group, values, scales, tensor.zero, offsets)


def packed_in_slices(backend: NativeBackend, tensor, kind: Kind, cuts: list[int]):
    packer = backend.packer(tensor.shape, kind)
    for part in sliced(tensor, cuts):
        packer.add(part)
    return packer.finish()


@isas
@pytest.mark.parametrize("source", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("target", ["int8", "int4"])
@settings(max_examples=25, deadline=None)
@given(st.integers(1, 70), st.integers(1, 130), st.data())
def test_quantising_while_packing_gives_what_quantising_first_gives(isa, source, target, rows, columns, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, rows), max_size=4)))
    weight = np.random.default_rng(rows * 131 + columns).standard_normal((rows, columns)).astype(np.float32)
    tensor = dense(weight, source)
    backend = NativeBackend(isa, 2)
    expected = backend.matrix(QUANTIZE[target](floats(tensor)))
    found = packed_in_slices(backend, tensor, KINDS[target], cuts)
    assert found.form == expected.form
    np.testing.assert_array_equal(found.packed, expected.packed)


@isas
def test_slices_of_groups_pack_like_the_whole(isa):
    random = np.random.default_rng(3)
    values = random.integers(0, 16, (45, 96), np.uint8)
    scales, offsets = (random.standard_normal((45, 6)).astype(np.float32) for _ in "so")
    backend = NativeBackend(isa, 2)
    for tensor in (
        GroupedTensor(4, 16, values, scales, 0, offsets),
        GroupedTensor(4, 16, values, scales, 0),
        GroupedTensor(4, 16, values, scales, 8),
        GroupedTensor(4, 16, values, scales, 7),
        GroupedTensor(8, 16, values.view(np.int8) - np.int8(9), scales, 0, offsets),
    ):
        whole = backend.matrix(tensor)
        np.testing.assert_array_equal(
            packed_in_slices(backend, tensor, kind_of(tensor), [5, 5, 32]).packed, whole.packed
        )


@isas
def test_every_variant_packs_the_same_bytes(isa):
    weight = np.random.default_rng(5).standard_normal((33, 100)).astype(np.float32)
    for kind in (Kind("f32"), Kind("f16"), Kind("bf16"), *KINDS.values()):
        first, this = (
            packed_in_slices(NativeBackend(name, 1), DenseTensor("f32", weight), kind, []).packed
            for name in (native_isas()[0], isa)
        )
        np.testing.assert_array_equal(first, this)


def test_floats_round_as_the_reference_does():
    values = np.array([[1.0, 1.00390625, 1.01171875, -2.5, np.nan, np.inf, 3.4e38, 1e-40]], np.float32)
    backend = NativeBackend(None, 1)
    expected = backend.matrix(DenseTensor("bf16", to_bf16(values)))
    found = packed_in_slices(backend, DenseTensor("f32", values), Kind("bf16"), [])
    np.testing.assert_array_equal(found.packed, expected.packed)


def test_rows_that_are_missing_too_many_or_misshapen_are_refused():
    backend = NativeBackend(None, 1)
    packer = backend.packer((4, 32), KINDS["int8"])
    packer.add(DenseTensor("f32", np.ones((3, 32), np.float32)))
    with pytest.raises(ValueError, match="missing"):
        packer.finish()
    with pytest.raises(ValueError, match="more rows"):
        packer.add(DenseTensor("f32", np.ones((2, 32), np.float32)))
    with pytest.raises(ValueError, match="do not fit"):
        packer.add(DenseTensor("f32", np.ones((1, 33), np.float32)))


@pytest.mark.parametrize("kind", [Kind("f32"), Kind("bf16"), *KINDS.values()], ids=lambda kind: kind.type)
def test_a_matrix_in_a_mapped_file_is_the_matrix_that_was_written(kind):
    backend = NativeBackend(None, 1)
    weight = np.random.default_rng(6).standard_normal((40, 72)).astype(np.float32)
    matrix = packed_in_slices(backend, DenseTensor("f32", weight), kind, [])
    form = Form.of(matrix)
    assert form.num_bytes == matrix.num_bytes == len(matrix.packed)
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(bytes(64) + bytes(matrix.packed))
        mapped = native.MappedFile(file.fileno(), os.fstat(file.fileno()).st_size)
    found = mapped.matrix(form.fields, 64)
    del mapped
    assert Form.of(found) == form
    np.testing.assert_array_equal(found.packed, matrix.packed)


def test_a_mapped_matrix_that_reaches_beyond_its_file_is_refused():
    form = Form("int8", 16, 64)
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(bytes(form.num_bytes))
        mapped = native.MappedFile(file.fileno(), form.num_bytes)
        for offset in (64, 1 << 40):
            with pytest.raises(IndexError, match="outside"):
                mapped.matrix(form.fields, offset)
        with pytest.raises(ValueError, match="cache line"):
            mapped.matrix(form.fields, 4)
        for wrong in (Form("int8", 0, 64), Form("int8", 1 << 40, 64), Form("int8", 16, 64, group=7)):
            with pytest.raises(ValueError):
                mapped.matrix(wrong.fields, 0)
