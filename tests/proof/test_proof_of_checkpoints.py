"""AWQ and GPTQ folders beside the model they were made from: quantised, within 4 bits, and covered."""

from dataclasses import replace

import numpy as np
import pytest
from proof_models import builtin
from quantized_folders import quantized_builtin

from fairway.formats.open import open_bundle
from fairway.proof.run import ProofSettings, run

QUICK = ProofSettings(quick=True, window_tokens=128)


@pytest.fixture(scope="module", params=["awq", "gptq"])
def folders(request, tmp_path_factory):
    return quantized_builtin(request.param, tmp_path_factory.mktemp(request.param))


def test_they_pass_as_four_bits(folders):
    proof = run(builtin(), open_bundle(folders / "short"), QUICK)
    assert proof.verdict.passed, proof.verdict.failed
    assert proof.thresholds.kind == "4-bit"
    assert proof.evidence.coverage.quantised_share == 1
    assert {row.target_type for row in proof.evidence.tensors.tensors} >= {"INT4_ASYM"}
    assert 0.05 < max(row.relative for row in proof.evidence.tensors.tensors) < 0.2


def test_their_codes_mean_what_is_written_out_in_floats(folders):
    proof = run(open_bundle(folders / "short"), open_bundle(folders / "wide"), QUICK)
    assert proof.verdict["tensors"].status == "passed"
    assert all(np.isclose(row.relative, 0) for row in proof.evidence.tensors.tensors)


def test_a_method_that_nobody_reads_is_named(folders):
    bundle = open_bundle(folders / "short")
    strange = replace(bundle, config={**bundle.config, "quantization_config": {"quant_method": "mystery"}})
    proof = run(builtin(), strange, QUICK)
    assert "mystery" in proof.verdict["predictions"].figure
    assert not proof.verdict.passed and proof.evidence.coverage.claim == "its config says mystery"
