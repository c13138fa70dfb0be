"""Every family and variant: a folder and its GGUF file are one model, and what GGUF cannot say is found."""

import pytest
from gguf_written import NAMES, as_f32, expressible, written
from model_cases import CASES
from tiny_models import golden, memory_bundle

from fairway.proof.rounded import rounded
from fairway.proof.run import ProofSettings, run
from fairway.proof.steps import steps_of

SETTINGS = ProofSettings(quick=True)


def checks(proof):
    return {check.name: check.status for check in proof.verdict.checks}


@pytest.mark.parametrize("name", NAMES)
def test_folder_and_gguf_are_one_model(name, tmp_path):
    answer = golden(name)
    config = expressible(answer.config)
    source = memory_bundle(config, answer.weights)
    proof = run(source, written(tmp_path / "tiny.gguf", config, answer.weights, as_f32), SETTINGS)
    found = checks(proof)
    assert found["computation"] == found["tensors"] == found["layers"] == "passed", proof.verdict.failed
    assert proof.thresholds.kind == "lossless"
    assert max(row.grown for row in proof.evidence.layers.stages) < 1e-5


@pytest.mark.parametrize("name", CASES)
def test_steps_have_names_of_their_own_and_rounding_is_told_from_damage(name):
    source = golden(name).bundle
    proof = run(source, rounded(source, "int8"), SETTINGS)
    found = checks(proof)
    assert found["computation"] == found["tensors"] == found["coverage"] == "passed", proof.verdict.failed
    assert proof.thresholds.kind == "8-bit" and proof.evidence.coverage.quantised_share == 1
    stages = proof.evidence.layers.stages
    assert [row.stage for row in stages][1:-1] == [f"layer {i}" for i in range(len(stages) - 2)]
    steps = [step.step for row in stages for step in row.steps]
    assert len(set(steps)) == len(steps) == proof.evidence.computation.num_steps
    assert all(0 <= step.error < 0.2 for row in stages for step in row.steps)


LOST = {
    "mistral-window": "window",
    "qwen2-upper-window": "window",
    "llama-rope-dynamic": "max_context",
    "qwen3-tied-bias": "bias",
    "gpt2-untied": "activation",
}


@pytest.mark.parametrize(("name", "parameter"), LOST.items())
def test_what_gguf_cannot_say_is_found(name, parameter, tmp_path):
    answer = golden(name)
    proof = run(answer.bundle, written(tmp_path / "x.gguf", answer.config, answer.weights, as_f32), SETTINGS)
    assert parameter in {row.parameter for row in proof.evidence.computation.differences}
    assert not proof.verdict.passed


def test_stages_and_steps_of_a_plain_decoder():
    from fairway.proof.hop import Side
    from fairway.proof.recorded import record_shapes

    steps = steps_of(record_shapes(Side(golden("llama-grouped-heads").bundle), 128))
    layer = [step.name.removeprefix("model.layers.0.") for step in steps if step.stage == "layer 0"]
    assert layer == [
        "input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "layer 0 rope",
        "layer 0 attention", "self_attn.o_proj", "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj",
        "layer 0 gate", "mlp.down_proj",
    ]  # fmt: skip
    assert [step.name for step in steps if step.stage == "head"] == ["model.norm", "lm_head"]
