"""Broken conversions: the right check fails, and the bisect names the layer and the tensor."""

import numpy as np
import pytest
from proof_models import SHARED, builtin, edited, needs_shared, with_config

from fairway.formats.open import open_bundle
from fairway.proof.rounded import rounded
from fairway.proof.run import ProofSettings, run

QUICK = ProofSettings(quick=True, window_tokens=128)
Q = "model.layers.2.self_attn.q_proj"


def proved(target, source=None, settings=QUICK):
    return run(source or builtin(), target, settings)


def permuted(values):
    """Rows of a rotating pair side by side, as GGUF stores them, instead of in halves."""
    rows = len(values)
    return values.reshape(8, 2, rows // 16, -1).swapaxes(1, 2).reshape(rows, -1)


def names_failed(proof):
    return {check.name for check in proof.verdict.failed}


def test_a_model_is_bit_for_bit_itself_in_every_layer():
    proof = proved(builtin())
    found = proof.evidence.layers
    assert [row.stage for row in found.stages] == ["embedding", *(f"layer {i}" for i in range(6)), "head"]
    assert all(row.own == row.grown == 0 for row in found.stages)
    assert all(step.error == 0 for row in found.stages for step in row.steps)
    assert found.departure is None and proof.verdict.passed


def test_permuted_rows_are_bisected_to_their_tensor():
    proof = proved(edited(builtin(), f"{Q}.weight", permuted))
    assert names_failed(proof) == {"tensors", "layers", "predictions"}
    departure = proof.evidence.layers.departure
    assert (departure.stage, departure.step) == ("layer 2", Q)
    assert departure.error > 0.5
    assert [row.name for row in proof.evidence.tensors.beyond] == [f"{Q}.weight"]
    assert Q in proof.verdict["layers"].figure
    assert f"the cause: {Q}.weight differs" in proof.verdict["layers"].details


def test_only_the_broken_layer_errs_on_the_sources_own_states():
    stages = proved(edited(builtin(), f"{Q}.weight", permuted)).evidence.layers.stages
    own = {row.stage: row.own for row in stages}
    grown = [row.grown for row in stages]
    assert {stage for stage, error in own.items() if error > 1e-4} == {"layer 2"}
    assert grown[:3] == [0, 0, 0] and all(error > 1e-3 for error in grown[3:])


def test_permuted_rows_are_found_beneath_the_noise_of_rounding():
    broken = rounded(edited(builtin(), f"{Q}.weight", permuted), "int4")
    proof = proved(broken)
    assert proof.thresholds.kind == "4-bit"
    assert names_failed(proof) >= {"tensors", "layers"}
    assert proof.evidence.layers.departure.step == Q
    assert proved(rounded(builtin(), "int4")).verdict.passed


def test_a_wrong_epsilon_is_named_with_both_values():
    proof = proved(with_config(builtin(), rms_norm_eps=0.05))
    assert {"computation", "layers"} <= names_failed(proof) and "tensors" not in names_failed(proof)
    assert "eps 1e-05 became 0.05" in proof.verdict["computation"].details[0]
    departure = proof.evidence.layers.departure
    assert (departure.stage, departure.step) == ("layer 0", "model.layers.0.input_layernorm")
    assert "the cause: eps 1e-05 became 0.05" in proof.verdict["layers"].details


def test_a_wrong_rope_departs_where_it_turns():
    proof = proved(with_config(builtin(), rope_theta=500_000.0))
    assert "frequencies" in proof.verdict["computation"].details[0]
    assert proof.evidence.layers.departure.step == "layer 0 rope"


def test_float32_spellings_of_a_number_are_the_same():
    assert proved(with_config(builtin(), rms_norm_eps=float(np.float32(1e-5)))).verdict.passed


@pytest.mark.parametrize("name", ["model.embed_tokens.weight", "model.norm.weight"])
def test_ends_of_the_model_are_bisected_too(name):
    proof = proved(edited(builtin(), name, lambda v: v * np.float32(1.5)))
    stage = "embedding" if "embed" in name else "head"
    assert proof.evidence.layers.departure.stage == stage


def test_a_missing_layer_is_a_difference_and_no_crash():
    proof = proved(with_config(builtin(), num_hidden_layers=5))
    assert names_failed(proof) == {"computation"}
    assert proof.verdict["layers"].status == "not applicable"


@pytest.mark.parametrize(("weights", "kind"), [("bf16", "lossless"), ("int8", "8-bit"), ("int4", "4-bit")])
def test_rounding_in_memory_passes_with_its_own_limits(weights, kind):
    proof = proved(rounded(builtin(), weights))
    assert proof.thresholds.kind == kind and proof.verdict.passed, proof.verdict.failed
    if kind != "lossless":
        assert proof.evidence.coverage.quantised_share == 1
        assert proof.evidence.logits.kl_mean > 0


def test_rounded_logits_are_those_of_loading_with_that_type():
    from fairway.kernels.program import Limits
    from fairway.kernels.select import select_backend
    from fairway.models.loader import load_model
    from fairway.proof.forward import Forward, one_sequence
    from fairway.proof.hop import Side
    from fairway.proof.recorded import record_weights

    backend, ids = select_backend(), np.arange(3, 35, dtype=np.int32)
    model = load_model(builtin(), backend, weight_type="int4")
    served = (
        model.compile(model.cache_shape(2, type="f32"), Limits(32, 1, 32)).run(one_sequence(ids, 0, 2)).copy()
    )
    ours = Forward(record_weights(Side(rounded(builtin(), "int4")), 1024, backend), 32)
    assert np.array_equal(np.concatenate([rows.copy() for rows in ours.logits(ids)]), served)


def test_models_are_not_loaded_when_they_shall_not_run():
    proof = proved(builtin(), settings=ProofSettings(quick=True, run_models=False))
    assert proof.verdict.passed and proof.verdict["predictions"].status == "not applicable"


def test_embeddings_on_request():
    settings = ProofSettings(quick=True, embeddings=True, window_tokens=64)
    same = proved(builtin(), settings=settings).evidence.embeddings
    assert same.cosine_min == 1 and same.pooling == ("last", "last")
    eighth = proved(rounded(builtin(), "int8"), settings=settings).evidence.embeddings
    assert 0.99 < eighth.cosine_min < 1


@needs_shared
@pytest.mark.parametrize("name", ["babyllama", "stories260k"])
def test_real_folder_and_gguf_predict_alike_bit_for_bit(name):
    folder = SHARED / "models" / name
    proof = proved(open_bundle(folder / f"{name}-f32.gguf"), open_bundle(folder))
    assert proof.verdict.passed
    assert proof.evidence.logits.max_difference == 0 and proof.evidence.logits.same_top == 1
