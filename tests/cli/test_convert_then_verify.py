"""What `fairway convert` writes is what `fairway verify` accepts, there and back."""

import json

import pytest

from fairway.cli.main import run

KINDS = {
    "F16": "16-bit",
    "BF16": "lossless",
    "Q8_0": "8-bit",
    "Q6_K": "6-bit",
    "Q4_K_M": "4-bit",
    "Q2_K": "2-bit",
}


def verified(source, target, capsys):
    code = run(["verify", str(source), str(target), "--quick", "--json"])
    record = json.loads(capsys.readouterr().out)
    failed = [check for check in record["verdict"]["checks"] if check["status"] == "failed"]
    assert (code, failed) == (0, [])
    return record


@pytest.mark.parametrize("kind", KINDS)
def test_every_type_passes_as_what_it_is(kind, tmp_path, capsys):
    target = tmp_path / "model.gguf"
    assert run(["convert", "builtin", "--to", "gguf", "--type", kind, "--out", str(target), "--json"]) == 0
    capsys.readouterr()
    record = verified("builtin", target, capsys)
    assert record["thresholds"]["kind"] == KINDS[kind]
    if kind == "BF16":
        assert record["evidence"]["logits"]["max_difference"] == 0


def test_there_and_back_again_nothing_is_lost(tmp_path, capsys):
    there, back = tmp_path / "there.gguf", tmp_path / "back"
    assert run(["convert", "builtin", "--to", "gguf", "--type", "F32", "--out", str(there), "--json"]) == 0
    assert run(["convert", str(there), "--to", "safetensors", "--out", str(back), "--json"]) == 0
    capsys.readouterr()
    record = verified("builtin", back, capsys)
    assert all(row["bit_exact"] for row in record["evidence"]["tensors"]["tensors"])
    assert record["evidence"]["logits"]["kl_max"] < 1e-9
