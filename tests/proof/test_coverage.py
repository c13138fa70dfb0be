"""How much was quantised, and models that only say so."""

from dataclasses import replace
from pathlib import Path

from proof_models import builtin, grouped, with_config, with_tensors

from fairway.models.conversion import floats_of
from fairway.proof.coverage import measure_coverage
from fairway.proof.hop import Side


def quantised(bundle, names):
    made = {name: grouped(floats_of(bundle.tensors.read(name))) for name in names}
    return with_tensors(bundle, types=dict.fromkeys(made, "Q4_0"), **made)


def test_shares_by_hand():
    bundle = builtin()
    names = Side(bundle).linear_names
    sizes = {name: bundle.tensors.infos[name].num_elements for name in names}
    half = names[: len(names) // 2]
    found = measure_coverage(Side(quantised(bundle, half)))
    assert found.quantised_share == sum(sizes[name] for name in half) / sum(sizes.values())
    assert found.types["Q4_0"].num_tensors == len(half)
    assert set(found.floats) == set(names) - set(half)
    assert found.claim == "it holds Q4_0"
    assert measure_coverage(Side(quantised(bundle, names))).quantised_share == 1


def test_a_model_that_says_nothing_has_no_claim():
    found = measure_coverage(Side(builtin()))
    assert found.claim is None and found.quantised_share == 0


def test_claims_by_config_name_and_request():
    bundle = builtin()
    by_config = with_config(bundle, quantization_config={"quant_method": "gptq"})
    assert measure_coverage(Side(by_config)).claim == "its config says gptq"
    for name in ("model-Q4_K_M.gguf", "model.q4_k_m.gguf", "Qwen-GPTQ-Int4", "x-IQ4_NL.gguf", "x-Q8_0"):
        assert measure_coverage(Side(replace(bundle, path=Path(name)))).claim is not None, name
    for name in ("model-f16.gguf", "Q4.gguf", "SQ4_0x"):
        assert measure_coverage(Side(replace(bundle, path=Path(name)))).claim is None, name
    assert measure_coverage(Side(bundle), "Q4_K").claim == "Q4_K"
