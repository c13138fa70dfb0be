"""`fairway convert` from the command line: names, plans, reports and refusals."""

import json

import numpy as np
import pytest

from fairway.cli.main import run
from fairway.formats.open import open_bundle
from fairway.formats.safetensors_writer import tensor_data, write_safetensors

TOKENIZER = {"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}}


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "small"
    folder.mkdir()
    values = np.linspace(-1, 1, 320, dtype=np.float32).reshape(10, 32)
    write_safetensors(folder / "model.safetensors", {"model.embed_tokens.weight": tensor_data(values)})
    config = {"model_type": "llama", "hidden_size": 32, "eos_token_id": 3, "dtype": "float32"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    return folder


def test_the_first_command_needs_no_name(model, tmp_path, capsys):
    assert run(["convert", str(model), "--to", "safetensors", "--type", "bf16"]) == 0
    assert open_bundle(tmp_path / "small-BF16").tensors.infos["model.embed_tokens.weight"].type == "BF16"
    out = capsys.readouterr().out
    assert "small-BF16" in out
    assert "F32 -> BF16: 1 tensors, rms error" in out
    assert "sha256:" in out


def test_json_says_everything(model, tmp_path, capsys):
    assert run(["convert", str(model), "--to", "safetensors", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["target"] == "small-safetensors"
    assert report["digest"] == report["source_digest"]
    assert report["tensors"] == {"F32 -> F32": {"tensors": 1, "elements": 320, "equal": True}}


def test_dry_run_shows_the_plan_and_writes_nothing(model, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    assert run(["convert", str(model), "--to", "safetensors", "--dry-run"]) == 0
    plain = capsys.readouterr().out
    assert "would write small-safetensors" in plain
    assert "every number stays as it is" in plain
    assert run(["convert", str(model), "--to", "safetensors", "--type", "f16", "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["types"], plan["lossless"]) == ({"F16": 640}, False)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere", "--to", "safetensors"], "nowhere"),
        (["small", "--to", "gold"], "gold"),
        (["small", "--to", "safetensors", "--type", "q9"], "'q9'"),
        (["small", "--to", "safetensors", "--max-shard-size", "much"], "is not a size"),
        (["small", "--to", "gguf", "--max-shard-size", "1GB"], "is for --to safetensors"),
        (["small", "--to", "safetensors", "--out", "small"], "what is being converted"),
    ],
)
def test_refusals_are_one_sentence(model, capsys, arguments, words):
    assert run(["convert", *arguments]) != 0
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error


def test_quantize_names_its_file_after_the_type(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["quantize", "builtin", "--to", "q4_k"]) == 0
    out = capsys.readouterr().out
    assert "builtin-Q4_K_M.gguf" in out
    assert "checks passed" in out
    assert {info.type for info in open_bundle(tmp_path / "builtin-Q4_K_M.gguf").tensors.infos.values()} > {
        "F32"
    }
    assert run(["quantize", "builtin-Q4_K_M.gguf", "--to", "q2_k"]) != 0
    assert "rounding twice" in capsys.readouterr().err


def test_quantize_knows_its_types(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["quantize", "builtin", "--to", "q9"]) == 2
    assert "Q4_K_M" in capsys.readouterr().err
    assert run(["quantize", "builtin", "--to", "q8_0", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["hop"] == "huggingface -> gguf"
    assert list(tmp_path.iterdir()) == []


def test_a_gguf_file_of_stored_types_is_named_after_most_of_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["convert", "builtin", "--to", "gguf", "--dry-run"]) == 0
    assert "would write builtin-BF16.gguf, 11.66 MB in one file" in capsys.readouterr().out
