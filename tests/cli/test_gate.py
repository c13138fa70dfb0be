"""`fairway gate`, and commands that publish only above a bar, on the built-in model and the real engine."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from fairway.cli.gating import parse_stage
from fairway.cli.main import run
from fairway.errors import ModelNotFound
from fairway.formats.lora import Adapter, LoraLayer
from fairway.formats.lora_peft import write_peft
from fairway.formats.open import open_bundle
from fairway.registry.resolve import resolve
from fairway.tensors import DenseTensor
from fairway.text.loader import load_template, load_tokenizer
from fairway.tune.gate_result import Stage

ROWS = [
    {"prompt": "Who keeps the lighthouse?", "completion": "Old Marta keeps it."},
    {"messages": [
        {"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hello! How can I help you?"},
    ]},
]  # fmt: skip


@pytest.fixture
def data(tmp_path) -> Path:
    path = tmp_path / "held.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n", "utf-8")
    return path


@pytest.fixture(scope="module")
def adapter(tmp_path_factory) -> Path:
    """On one layer of the built-in model, strong enough to be noticed."""
    bundle = open_bundle(resolve("builtin").path)
    rows, columns = bundle.tensors.infos["model.layers.0.self_attn.q_proj.weight"].shape
    numbers = np.random.RandomState(0)
    a, b = (numbers.uniform(-0.1, 0.1, shape).astype(np.float32) for shape in ((2, columns), (rows, 2)))
    layer = LoraLayer(DenseTensor("f32", a), DenseTensor("f32", b), 2.0)
    path = tmp_path_factory.mktemp("gate") / "noisy"
    write_peft(Adapter("noisy", None, {"model.layers.0.self_attn.q_proj": layer}), path)
    return path


def gate(capsys, *arguments: object) -> dict:
    assert run(["gate", *map(str, arguments), "--max-tokens", "24", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_the_loss_is_that_of_what_the_template_has_the_model_say(data, capsys):
    """Worked out here from the engine's logits for the rendered conversation."""
    from fairway.kernels.select import select_backend
    from fairway.proof.forward import Forward
    from fairway.proof.hop import Side
    from fairway.proof.recorded import record_weights

    bundle = open_bundle(resolve("builtin").path)
    assert bundle.tokenizer is not None
    tokenizer = load_tokenizer(bundle.tokenizer)
    template = load_template(bundle.chat_template, tokenizer)
    asked = [{"role": "user", "content": ROWS[0]["prompt"]}]
    prompt = tokenizer.encode(template.render(asked, add_generation_prompt=True), add_special_tokens=False)
    answer = tokenizer.encode(f"{ROWS[0]['completion']}<|end|>", add_special_tokens=False)
    ids = np.array(prompt + answer, np.int32)
    logits = np.concatenate([
        np.array(rows, np.float64)
        for rows in Forward(record_weights(Side(bundle), 1024, select_backend()), len(ids)).logits(ids)
    ])  # fmt: skip
    nats = [
        math.log(np.exp(row - row.max()).sum()) + row.max() - row[each]
        for row, each in zip(logits[len(prompt) - 1 : -1], answer, strict=True)
    ]
    [stage] = gate(capsys, data, "builtin")["stages"]
    assert stage["num_labels"] == len(answer)
    assert stage["loss"] == pytest.approx(sum(nats) / len(nats), rel=1e-4)


def test_what_each_hop_cost(data, adapter, tmp_path, capsys):
    small = tmp_path / "small.gguf"
    assert run(["quantize", "builtin", "--to", "Q4_0", "--out", str(small)]) == 0
    capsys.readouterr()
    found = gate(capsys, data, "base=builtin", f"noisy=builtin:{adapter}", small, "--out", tmp_path)
    base, noisy, quantised = found["stages"]
    assert [stage["name"] for stage in found["stages"]] == ["base", "noisy", str(small)]
    assert base["change"] == {}
    assert noisy["loss"] != base["loss"]
    assert quantised["change"]["loss"] == pytest.approx(quantised["loss"] - noisy["loss"])
    assert 0 <= quantised["stops"] <= 1
    assert json.loads((tmp_path / "gate.json").read_text("utf-8")) == found


def test_the_table_and_the_bar(data, capsys):
    assert run(["gate", str(data), "builtin", "--max-tokens", "8", "--require", "exact_match>=0.9"]) == 9
    told = capsys.readouterr()
    assert "held.jsonl: 1 rows, 1 answers" in told.out
    assert "exact_match" in told.out
    assert "builtin is below the bar: exact_match is 0, not exact_match>=0.9." in told.err


def test_an_answer_that_is_cut_off_did_not_stop(data, capsys):
    short = gate(capsys, data, "builtin")["stages"][0]
    assert run(["gate", str(data), "builtin", "--max-tokens", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stages"][0]["stops"] == 0
    assert short["num_answers"] == 1


def test_plain_text_has_a_loss_and_no_answers(tmp_path, capsys):
    path = tmp_path / "text.jsonl"
    path.write_text('{"text": "Once upon a time there was a dog."}\n', "utf-8")
    [stage] = gate(capsys, path, "builtin")["stages"]
    assert (stage["stops"], stage["num_answers"]) == (None, 0)
    assert 0 < stage["loss"] < 6
    assert run(["gate", str(path), "builtin", "--require", "stops>=0.5"]) == 9
    assert "stops could not be measured" in capsys.readouterr().err


def test_of_two_answers_the_preferred_one_counts(tmp_path, capsys):
    path, other = tmp_path / "pair.jsonl", tmp_path / "plain.jsonl"
    row = {"prompt": "Hello", "chosen": "Hello! How are you?", "rejected": "Go away."}
    path.write_text(json.dumps(row) + "\n", "utf-8")
    other.write_text(json.dumps({"prompt": row["prompt"], "completion": row["chosen"]}) + "\n", "utf-8")
    pair, plain = (gate(capsys, each, "builtin")["stages"][0] for each in (path, other))
    assert pair["loss"] == plain["loss"]


def test_a_wrong_row_is_named(tmp_path, capsys):
    path = tmp_path / "wrong.jsonl"
    path.write_text(json.dumps(ROWS[0]) + '\n{"prompt": "a"\n', "utf-8")
    assert run(["gate", str(path), "builtin"]) == 3
    assert "wrong.jsonl line 2" in capsys.readouterr().err


def test_a_quantised_file_below_the_bar_is_not_published(data, tmp_path, capsys):
    out = tmp_path / "q.gguf"
    command = ["quantize", "builtin", "--to", "Q4_0", "--out", str(out), "--validation", str(data)]
    assert run([*command, "--require", "loss<=0.1"]) == 9
    assert "not loss<=0.1. Nothing was published." in capsys.readouterr().err
    assert not out.exists()
    assert run([*command, "--require", "loss<=20"]) == 0
    assert out.is_file()


def test_a_merged_model_below_the_bar_is_not_published(data, adapter, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["merge", "builtin", str(adapter), "--out", str(out), "--validation", str(data)]
    assert run([*command, "--require", "exact_match>=1"]) == 9
    assert not out.exists()
    assert run([*command, "--require", "exact_match>=1", "--accept", "a test"]) == 0
    assert "exact_match is 0" in (out / "fairway.json").read_text("utf-8") or out.is_dir()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["quantize", "builtin", "--to", "Q4_0", "--require", "loss<=1"], "--require needs held-out data"),
        (["merge", "builtin", "x", "--out", "o", "--metric", "json"], "--metric needs held-out data"),
        (["gate", "none.jsonl", "builtin"], "none.jsonl"),
        (["gate", "none.jsonl", "builtin", "--metric", "bleu"], "no metric 'bleu'"),
        (["gate", "none.jsonl", "builtin", "--out", "no/where.json"], "There is no folder"),
        (["gate", "none.jsonl", "builtin:./nowhere"], "no adapter at ./nowhere"),
    ],
)
def test_wrong_calls(command, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(command) != 0
    assert said in capsys.readouterr().err


def test_stages(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    assert parse_stage("builtin") == Stage("builtin", "builtin")
    assert parse_stage("base=builtin") == Stage("base", "builtin")
    assert parse_stage("builtin:run") == Stage("run", "builtin", "run")
    assert parse_stage("mine=builtin:run") == Stage("mine", "builtin", "run")
    assert parse_stage("org/name:Q4_K_M") == Stage("org/name:Q4_K_M", "org/name:Q4_K_M")
    with pytest.raises(ModelNotFound, match=r"no adapter at \./gone"):
        parse_stage("builtin:./gone")
