"""Weights on their way in: names, shapes, types, fusion, progress and memory."""

import tracemalloc
from dataclasses import dataclass

import numpy as np
import pytest
from model_cases import CASES, LLAMA
from tiny_models import Session, golden, memory_bundle

from fairway.errors import FormatError, SettingsError
from fairway.kernels.program import Attention, Linear
from fairway.kernels.quantize import quantize_int8, quantize_low
from fairway.kernels.reference import ReferenceBackend
from fairway.kernels.reference_ops import dequantize, to_float32
from fairway.kernels.select import select_backend
from fairway.models.conversion import WEIGHT_TYPES, convert, stack, stacks_with, to_bf16, transpose
from fairway.models.loader import load_model
from fairway.models.random import random_bundle
from fairway.tensors import DenseTensor, GroupedTensor, WeightTensor

Q = "model.layers.0.self_attn.q_proj.weight"


def tiny() -> dict[str, WeightTensor]:
    return {name: DenseTensor("f32", value) for name, value in golden("llama-grouped-heads").weights.items()}


def load(tensors: dict, **options):
    return load_model(memory_bundle(LLAMA, tensors), ReferenceBackend(), **options)


def matrices(model) -> list[WeightTensor]:
    return [op.matrix.tensor for op in model.program.operations if isinstance(op, Linear)]


def kinds(model) -> set[str]:
    return {t.type if isinstance(t, DenseTensor) else f"int{t.bits}" for t in matrices(model)}


def test_missing_tensor_is_named_with_its_shape() -> None:
    tensors = tiny()
    del tensors[Q]
    bundle = memory_bundle(LLAMA, tensors)
    with pytest.raises(FormatError, match=r"q_proj.weight of shape \(32, 32\) is missing\."):
        load_model(bundle, ReferenceBackend())
    assert bundle.tensors.read_names == []


def test_several_missing_tensors_are_counted() -> None:
    tensors = {name: tensor for name, tensor in tiny().items() if "layers.1" not in name}
    with pytest.raises(FormatError, match=r"layers\.1\..* is missing \(8 more like it\)"):
        load(tensors)


def test_misshapen_tensor_says_both_shapes() -> None:
    tensors = tiny() | {Q: DenseTensor("f32", np.zeros((16, 32), np.float32))}
    with pytest.raises(FormatError, match=r"q_proj.weight has shape \(16, 32\), expected \(32, 32\)"):
        load(tensors)


def test_a_header_that_lies_about_a_shape_is_found_when_read() -> None:
    bundle = memory_bundle(LLAMA, tiny())
    bundle.tensors.tensors[Q] = DenseTensor("f32", np.zeros((16, 32), np.float32))
    with pytest.raises(FormatError, match=r"has shape \(16, 32\), expected \(32, 32\)"):
        load_model(bundle, ReferenceBackend())


def test_unexpected_tensor_is_named() -> None:
    extra = {"model.layers.0.self_attn.q_proj.bias": np.zeros(32, np.float32)}
    with pytest.raises(FormatError, match=r"q_proj.bias of shape \(32,\) belongs to no part"):
        load(tiny() | extra)


def test_harmless_leftovers_are_ignored() -> None:
    nothing = np.zeros(1, np.float32)
    extra = {"model.layers.0.self_attn.rotary_emb.inv_freq": nothing, "vision_tower.x.weight": nothing}
    load(tiny() | extra)
    answer = golden("gpt2-tied")
    old = answer.weights | {"transformer.h.0.attn.bias": nothing, "lm_head.weight": nothing}
    load_model(memory_bundle(answer.config, old), ReferenceBackend())


def test_q_k_v_and_gate_up_are_one_matrix_each() -> None:
    assert [t.shape for t in matrices(load(tiny()))][:4] == [(64, 32), (32, 32), (88, 32), (32, 44)]


def test_parts_stored_differently_stay_apart_and_give_the_same_answer() -> None:
    tensors = tiny()
    v = "model.layers.0.self_attn.v_proj.weight"
    mixed = tensors | {v: DenseTensor("bf16", to_bf16(tensors[v].values))}
    model = load(mixed)
    assert [(t.type, t.shape) for t in matrices(model)][:2] == [("f32", (48, 32)), ("bf16", (16, 32))]
    rounded = tensors | {v: DenseTensor("f32", to_float32(mixed[v]))}
    tokens = [1, 2, 3]
    np.testing.assert_array_equal(Session(model).feed(tokens), Session(load(rounded)).feed(tokens))


def test_stored_keeps_what_the_file_holds() -> None:
    tensors = tiny()
    mixed = {
        name: tensor if len(tensor.shape) == 1 else DenseTensor("f16", tensor.values.astype(np.float16))
        for name, tensor in tensors.items()
    }
    mixed["lm_head.weight"] = quantize_low(tensors["lm_head.weight"].values, 4)
    assert kinds(load(mixed)) == {"f16", "int4"}


@pytest.mark.parametrize(
    ("weight_type", "expected"),
    [
        ("bf16", {"bf16"}),
        ("int8", {"int8"}),
        ("int6", {"int6"}),
        ("int5", {"int5", "int6"}),
        ("int4", {"int4", "int6"}),
    ],
)
def test_conversion_covers_every_matrix(weight_type: str, expected: set[str]) -> None:
    model = load(tiny(), weight_type=weight_type)
    assert kinds(model) == expected
    assert model.weight_type == weight_type


def test_head_and_embedding_keep_six_bits_under_int4() -> None:
    model = load(tiny(), weight_type="int4")
    head = matrices(model)[-1]
    table = model.program.operations[0].table.tensor
    assert (head.bits, table.bits) == (6, 6)


def test_a_tied_table_is_packed_once() -> None:
    answer = golden("llama-tied-biases")
    model = load_model(answer.bundle, ReferenceBackend())
    operations = model.program.operations
    heads = [op for op in operations if isinstance(op, Linear)]
    assert heads[-1].matrix is operations[0].table
    assert model.weight_bytes == 4 * answer.num_parameters
    assert model.num_parameters == answer.num_parameters


def test_unknown_weight_type() -> None:
    with pytest.raises(SettingsError, match="no weight type 'int3'"):
        load(tiny(), weight_type="int3")


def test_progress_counts_every_tensor_once() -> None:
    calls: list[tuple[int, int, str]] = []
    load(tiny(), progress=lambda *call: calls.append(call))
    assert [done for done, _, _ in calls] == list(range(1, len(tiny()) + 1))
    assert {total for _, total, _ in calls} == {len(tiny())}
    assert {name for _, _, name in calls} == set(tiny())


def test_windows_are_recorded_per_layer() -> None:
    answer = golden("qwen2-upper-window")
    model = load_model(answer.bundle, ReferenceBackend())
    assert [op.window for op in model.program.operations if isinstance(op, Attention)] == [None, 9, 9]


@dataclass
class Counted:
    rows: int
    columns: int
    num_bytes: int


class CountingBackend:
    """Packs nothing and keeps nothing: what is left in memory is the loader's own."""

    name = "counting"

    def matrix(self, weight: WeightTensor) -> Counted:
        scales = weight.scales.nbytes if isinstance(weight, GroupedTensor) else 0
        bits = weight.bits if isinstance(weight, GroupedTensor) else 8 * weight.values.itemsize
        return Counted(*weight.shape, weight.values.size * bits // 8 + scales)

    def compile(self, program, cache, limits):
        raise NotImplementedError


def test_memory_needed_beside_the_packed_weights() -> None:
    """One stack of projections, source and result: 3 MB in float32 here, of 30 MB in all."""
    config = {
        **LLAMA,
        "hidden_size": 256,
        "intermediate_size": 1500,
        "num_hidden_layers": 5,
        "vocab_size": 3000,
    }
    bundle = random_bundle(config, "f32")
    load_model(bundle, CountingBackend())
    tracemalloc.start()
    model = load_model(bundle, CountingBackend())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert model.weight_bytes > 27_000_000
    assert peak < 3 * 3_072_000


def values_of(tensor: WeightTensor) -> np.ndarray:
    return to_float32(tensor) if isinstance(tensor, DenseTensor) else dequantize(tensor)


def test_conversion_by_slices_equals_conversion_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = np.random.default_rng(0).standard_normal((50, 76)).astype(np.float32)
    monkeypatch.setattr("fairway.models.conversion.SLICE_BYTES", 7 * 4 * 76)
    for weight_type, whole in (
        ("int8", quantize_int8(weight)),
        ("int6", quantize_low(weight, 6)),
        ("int4", quantize_low(weight, 4)),
    ):
        sliced = convert(DenseTensor("f32", weight), weight_type)
        np.testing.assert_array_equal(sliced.values, whole.values)
        np.testing.assert_array_equal(sliced.scales, whole.scales)


def test_a_tensor_of_the_wanted_type_is_not_rounded_twice() -> None:
    weight = np.random.default_rng(0).standard_normal((8, 64)).astype(np.float32)
    for weight_type in WEIGHT_TYPES:
        once = convert(DenseTensor("f32", weight), weight_type)
        assert convert(once, weight_type) is once


@pytest.mark.parametrize(("weight_type", "error"), [("bf16", 0.004), ("int8", 0.008), ("int4", 0.13)])
def test_conversion_error_is_bounded(weight_type: str, error: float) -> None:
    weight = np.random.default_rng(1).standard_normal((64, 172)).astype(np.float32)
    for source in (DenseTensor("f32", weight), quantize_int8(weight)):
        found = values_of(convert(source, weight_type))
        assert np.abs(found - values_of(source)).max() / np.abs(weight).max() < error


def test_bf16_rounds_half_to_even_and_keeps_nan() -> None:
    values = np.array([1.0, 1.00390625, 1.01171875, -2.5, np.nan, np.inf, 3.4e38], np.float32)
    back = to_float32(DenseTensor("bf16", to_bf16(values)))
    np.testing.assert_array_equal(
        back, np.array([1.0, 1.0, 1.015625, -2.5, np.nan, np.inf, np.inf], np.float32)
    )


def test_stacking_and_turning() -> None:
    weight = np.random.default_rng(2).standard_normal((6, 40)).astype(np.float32)
    for tensor in (DenseTensor("f32", weight), quantize_int8(weight), quantize_low(weight, 4)):
        both = stack([tensor, tensor])
        np.testing.assert_array_equal(values_of(both), np.concatenate([values_of(tensor)] * 2))
        np.testing.assert_array_equal(values_of(transpose(tensor)), values_of(tensor).T)
    assert not stacks_with(quantize_int8(weight), quantize_low(weight, 4))
    assert not stacks_with(DenseTensor("f32", weight), DenseTensor("f16", weight.astype(np.float16)))
    assert not stacks_with(DenseTensor("f32", weight), DenseTensor("f32", weight[:, :8]))


@pytest.mark.parametrize("name", CASES)
def test_every_family_under_every_weight_type(name: str) -> None:
    """Rounded weights move the logits by no more than their precision, and on both backends alike.

    Where the backends round one activation to int8 differently, a logit moves by about a hundredth.
    """
    answer = golden(name)
    for weight_type, error in (("bf16", 0.05), ("int8", 0.15), ("int4", 0.8)):
        found, native = (
            Session(load_model(answer.bundle, backend, weight_type=weight_type, context=answer.context)).feed(
                answer.tokens
            )
            for backend in (ReferenceBackend(), select_backend())
        )
        scale = np.abs(answer.logits).max()
        assert 0 < np.abs(found - answer.logits).max() / scale < error
        assert np.abs(found - native).max() / scale < (1e-5 if weight_type == "bf16" else 0.05)
