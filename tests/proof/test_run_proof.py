"""One proof from end to end: the right check fails, the record is strict JSON, and acceptance is signed."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from proof_models import SHARED, builtin, edited, needs_shared, swap_ids, with_tokenizer

from fairway.errors import UsageError
from fairway.formats.open import open_bundle
from fairway.proof.judge import shown
from fairway.proof.run import ProofSettings, run
from fairway.proof.verdict import Verdict, not_applicable

QUICK = ProofSettings(quick=True, run_models=False)
Q = "model.layers.2.self_attn.q_proj.weight"


def failed(target, settings=QUICK):
    return [check.name for check in run(builtin(), target, settings).verdict.failed]


def test_a_model_proves_itself():
    told = []
    proof = run(builtin(), builtin(), QUICK, lambda *step: told.append(step))
    assert proof.verdict.passed and proof.may_publish and proof.thresholds.kind == "lossless"
    assert proof.verdict["coverage"].status == "not applicable"
    assert told


def test_each_kind_of_damage_fails_its_own_check(tmp_path):
    bundle = builtin()
    assert failed(edited(bundle, Q, lambda v: v[::-1])) == ["tensors"]
    assert failed(with_tokenizer(bundle, tmp_path, swap_ids("e", "t"))) == ["tokenizer"]
    assert failed(replace(bundle, chat_template="{{ messages[0].content }}")) == ["chat template"]
    assert failed(replace(bundle, end_of_text_ids=(2,))) == ["answering defaults"]
    assert failed(replace(bundle, path=Path("model-Q4_0.gguf"))) == ["coverage"]
    assert failed(replace(bundle, tokenizer=None)) == ["tokenizer", "chat template"]


def test_the_record_is_strict_json_and_knows_both_sides():
    broken = edited(builtin(), Q, lambda v: v * float("nan"))
    record = json.loads(json.dumps(run(builtin(), broken, QUICK).to_json(complete=True), allow_nan=False))
    assert record["verdict"]["passed"] is False and record["may_publish"] is False
    assert "tensors" in record["verdict"]["headline"]
    assert record["source"]["num_parameters"] == record["target"]["num_parameters"] > 5_000_000
    assert record["fairway_version"] and record["made_at"].endswith("+00:00")
    tensors = {row["name"]: row for row in record["evidence"]["tensors"]["tensors"]}
    assert tensors[Q]["relative"] is None and len(tensors) == 56


def test_the_short_record_fits_a_lineage_and_names_the_worst():
    broken = edited(builtin(), Q, lambda v: v[::-1])
    record = run(builtin(), broken, ProofSettings(quick=True, window_tokens=64)).to_json()
    tensors = record["evidence"]["tensors"]["tensors"]
    assert tensors[0]["name"] == Q and len(tensors) == 10 and record["evidence"]["num_tensors"] == 56
    assert len(json.dumps(record)) < 20_000


def test_whoever_accepts_signs_with_a_reason(monkeypatch):
    monkeypatch.setattr("getpass.getuser", lambda: "grace")
    proof = run(builtin(), replace(builtin(), end_of_text_ids=()), QUICK)
    assert not proof.may_publish
    with pytest.raises(UsageError, match="needs a reason"):
        proof.accept("  ")
    accepted = proof.accept("the ids are set by the server")
    assert accepted.may_publish and not accepted.verdict.passed
    record = accepted.to_json()["accepted"]
    assert (record["by"], record["reason"]) == ("grace", "the ids are set by the server")


def test_nothing_checked_is_no_pass():
    verdict = Verdict((not_applicable("tensors", "unknown"),))
    assert not verdict.passed and verdict.headline == "Nothing could be checked."


def test_strings_are_shown_escaped_and_cut():
    assert shown("a\n\x1b[31m") == r"'a\n\x1b[31m'"
    assert len(shown("a" * 5000)) < 80


@needs_shared
@pytest.mark.parametrize("name", ["babyllama", "stories260k"])
def test_real_folder_and_gguf_pass(name):
    folder = SHARED / "models" / name
    proof = run(open_bundle(folder), open_bundle(folder / f"{name}-f32.gguf"), QUICK)
    assert proof.verdict.passed, proof.verdict.headline
