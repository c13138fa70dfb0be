"""Figures that one can check by hand, types and their limits, and what is missing."""

import numpy as np
import pytest
from proof_models import SHARED, builtin, edited, grouped, needs_shared, with_config, with_tensors

from fairway.formats.open import open_bundle
from fairway.models.conversion import floats_of
from fairway.proof.hop import Side, default_thresholds, hop_kind
from fairway.proof.tensor_differences import compare_tensors
from fairway.proof.thresholds import KINDS
from fairway.tensors import DenseTensor

Q = "model.layers.2.self_attn.q_proj.weight"
NORM = "model.norm.weight"


def compared(target, source=None):
    ours, theirs = Side(source or builtin()), Side(target)
    return compare_tensors(ours, theirs, default_thresholds(ours, theirs))


def row(found, name):
    return next(each for each in found.tensors if each.name == name)


def test_a_model_equals_itself_bit_for_bit():
    found = compared(builtin())
    assert found.is_within and found.num_bit_exact == len(found.tensors) == 56
    assert all((each.max_abs, each.relative, each.cosine) == (0, 0, 1) for each in found.tensors)


def test_figures_of_a_change_that_one_can_check_by_hand():
    values = floats_of(builtin().tensors.read(NORM))
    found = row(compared(edited(builtin(), NORM, lambda v: v + np.float32(0.5))), NORM)
    assert found.max_abs == pytest.approx(0.5) and found.rms == pytest.approx(0.5)
    assert found.relative == pytest.approx(0.5 / np.sqrt(np.mean(values**2)), rel=1e-5)
    moved = values + 0.5
    assert found.cosine == pytest.approx(values @ moved / np.linalg.norm(values) / np.linalg.norm(moved))
    assert not found.bit_exact and not found.is_within


def test_one_flipped_bit_is_no_bit_exactness():
    def flip(values):
        values.view(np.uint32).reshape(-1)[7] ^= 1
        return values

    found = compared(edited(builtin(), Q, flip))
    assert [each.name for each in found.beyond] == [Q]


def test_the_sign_of_zero_counts_as_a_bit():
    zeros, negative = np.zeros(256, np.float32), np.full(256, -0.0, np.float32)
    source = with_tensors(builtin(), **{NORM: DenseTensor("f32", zeros)})
    found = row(compared(with_tensors(builtin(), **{NORM: DenseTensor("f32", negative)}), source), NORM)
    assert not found.bit_exact and found.relative == 0


def test_what_is_no_number_always_fails():
    def spoil(values):
        values[3, 3] = np.nan
        return values

    found = compared(edited(builtin(), Q, spoil))
    assert found.beyond[0].relative == np.inf


def test_missing_extra_and_misshapen():
    bundle = builtin()
    short = DenseTensor("f32", np.zeros((8, 256), np.float32))
    broken = with_tensors(bundle, without=(NORM,), **{Q: short, "model.extra.weight": short})
    found = compared(broken)
    assert (found.missing, found.extra, found.misshapen) == ((NORM,), ("model.extra.weight",), (Q,))
    assert not found.is_within


def test_a_head_that_is_a_copy_of_the_table_is_the_same_model():
    bundle = builtin()
    table = bundle.tensors.read("model.embed_tokens.weight")
    apart = with_config(with_tensors(bundle, **{"lm_head.weight": table}), tie_word_embeddings=False)
    assert compared(apart).is_within and compared(bundle, apart).is_within
    spoiled = DenseTensor("bf16", table.values[::-1].copy())
    apart = with_config(with_tensors(bundle, **{"lm_head.weight": spoiled}), tie_word_embeddings=False)
    assert [each.name for each in compared(apart).beyond] == ["lm_head.weight"]


@pytest.mark.parametrize("bits", [4, 8])
def test_rounding_stays_within_its_types_limit_and_permuted_rows_do_not(bits):
    bundle = builtin()
    kind = f"INT{bits}"
    rounded = {
        name: grouped(floats_of(bundle.tensors.read(name)), bits) for name in Side(bundle).linear_names
    }
    target = with_tensors(bundle, types=dict.fromkeys(rounded, kind), **rounded)
    assert hop_kind(Side(bundle), Side(target)) == f"{bits}-bit"
    found = compared(target)
    assert found.is_within and found.num_bit_exact < len(found.tensors)
    limit = KINDS[f"{bits}-bit"].tensor_limit("BF16", kind)
    assert 0 < row(found, Q).relative < limit
    values = floats_of(bundle.tensors.read(Q))
    rounded[Q] = grouped(values[np.argsort(np.arange(len(values)) % 2, kind="stable")], bits)
    broken = with_tensors(bundle, types=dict.fromkeys(rounded, kind), **rounded)
    assert [each.name for each in compared(broken).beyond] == [Q]


def test_half_precision_may_round_and_float32_may_not():
    bundle = builtin()
    to_half = edited(bundle, Q, lambda v: (v * 1.0001).astype(np.float16).astype(np.float32), kind="F16")
    assert row(compared(to_half), Q).limit == 2**-11
    to_float = edited(bundle, Q, lambda v: v * np.float32(1.0001), kind="F32")
    assert row(compared(to_float), Q).limit == 0 and not compared(to_float).is_within


@needs_shared
@pytest.mark.parametrize("name", ["babyllama", "stories260k"])
def test_real_folders_and_their_gguf_are_bit_exact(name):
    folder = SHARED / "models" / name
    found = compared(open_bundle(folder / f"{name}-f32.gguf"), open_bundle(folder))
    assert found.is_within and found.num_bit_exact == 48
