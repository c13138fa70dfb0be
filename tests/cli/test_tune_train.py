"""`fairway tune` trains the built-in model: what is learned is what is served, and kills cost nothing."""

import io
import json
import random
import signal
import sys
import time
from pathlib import Path

import pytest
from tune_processes import needs_torch, one_thread, process, wait_for  # noqa: F401  a fixture

from fairway.cli import tune_train
from fairway.cli.main import run
from fairway.formats.lineage import read_lineage
from fairway.map import cpu
from fairway.models.sizes import Expected
from fairway.tune import torch_extra

FACTS = {
    "Who keeps the lighthouse?": "Old Marta keeps it, with two goats.",
    "What colour is the ferry?": "The ferry is green with a white funnel.",
    "When does the market open?": "It opens at six, before the fog lifts.",
}
SMALL = ("--r", "4", "--target-modules", "q_proj", "--target-modules", "v_proj")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = [{"prompt": question, "completion": answer} for question, answer in FACTS.items()]
    path = tmp_path / "facts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def tune(data: Path, out: Path, *more: str) -> int:
    return run(["tune", "builtin", str(data), "--out", str(out), *more])


def answers(model: Path, capsys, monkeypatch) -> list[str]:
    found = []
    for question in FACTS:
        capsys.readouterr()
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        assert run(["run", str(model), question, "--temperature", "0"]) == 0
        found.append(capsys.readouterr().out.strip())
    return found


def test_without_torch_it_is_one_sentence(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch_extra.importlib.util, "find_spec", lambda name: None)
    assert tune(data, tmp_path / "run") == 8
    said = capsys.readouterr().err
    assert "Training needs PyTorch, which is not installed." in said
    assert "pip install 'fairway[tune]'" in said


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "--out is missing"),
        (["--out", "run", "--resume", "--r", "3"], "goes on with the recipe of the run"),
        (["--out", "run", "--strict"], "--strict belongs to --check"),
        (["--out", "run", "--preview", "2"], "--preview belongs to --check"),
        (["--check", "--learning-rate", "1"], "--learning-rate has no meaning"),
        (["--check", "--resume"], "--resume has no meaning"),
        (["--out", "run", "--method", "full", "--r", "3"], "--r has no meaning with --method full"),
        (["--out", "run", "--bnb-4bit-quant-type", "int4"], "no meaning with --method lora"),
        (["--out", "run", "--eval-steps", "3"], "--eval-steps needs held-out data"),
        (["--out", "run", "--learning-rat", "3"], "No such option"),
        (["--out", "run", "--recipe", "none.toml"], "none.toml cannot be read"),
    ],
)
def test_wrong_calls(data, capsys, flags, said):
    assert run(["tune", "builtin", str(data), *flags]) != 0
    assert said in capsys.readouterr().err


@needs_torch
def test_what_is_learned_is_recalled_by_the_engine_after_merging(data, tmp_path, capsys, monkeypatch):
    out, merged = tmp_path / "run", tmp_path / "merged"
    flags = ("--num-train-epochs", "40", "--learning-rate", "5e-3", "--validation", str(data))
    assert tune(data, out, *flags) == 0
    command = ["convert", "builtin", "--to", "safetensors", "--adapter", str(out / "adapter")]
    assert run([*command, "--out", str(merged)]) == 0
    assert answers(merged, capsys, monkeypatch) == list(FACTS.values())

    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 41))
    assert lines[-1]["held_out_loss"] < 0.1
    assert "held-out loss" in (out / "loss.svg").read_text("utf-8")
    lineage = read_lineage(out / "adapter")
    assert lineage is not None
    assert [source.name for source in lineage.steps[-1].sources] == ["builtin", "facts.jsonl", "facts.jsonl"]
    assert lineage.steps[-1].settings["num_train_epochs"] == 40
    assert not (out / "checkpoints").exists()
    assert tune(data, out) == 2
    assert tune(data, out, "--resume") == 2


@needs_torch
@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_a_dora_is_recalled_after_merging_and_refused_unmerged(method, data, tmp_path, capsys, monkeypatch):
    out, merged = tmp_path / "run", tmp_path / "merged"
    flags = ("--method", method, "--use-dora", "--num-train-epochs", "40", "--learning-rate", "5e-3")
    assert tune(data, out, *flags) == 0
    told = capsys.readouterr().out
    assert "merge it:" in told
    assert "serve it:" not in told
    command = ["convert", "builtin", "--to", "safetensors", "--adapter", str(out / "adapter")]
    assert run([*command, "--out", str(merged)]) == 0
    assert answers(merged, capsys, monkeypatch) == list(FACTS.values())
    assert run(["serve", "builtin", "--lora", f"it={out / 'adapter'}", "--port", "0"]) == 4
    assert "is a DoRA" in (said := capsys.readouterr().err)
    assert "fairway convert MODEL --adapter ADAPTER" in said


@needs_torch
def test_an_adapter_beside_4_bits_is_recalled_beside_the_model_itself(data, tmp_path, capsys, monkeypatch):
    out, merged = tmp_path / "run", tmp_path / "merged"
    flags = ("--method", "qlora", "--bnb-4bit-quant-type", "int4", "--bnb-4bit-use-double-quant",
             "--num-train-epochs", "40", "--learning-rate", "5e-3")  # fmt: skip
    assert tune(data, out, *flags) == 0
    command = ["convert", "builtin", "--to", "safetensors", "--adapter", str(out / "adapter")]
    assert run([*command, "--out", str(merged)]) == 0
    assert answers(merged, capsys, monkeypatch) == list(FACTS.values())


@needs_torch
def test_a_prefix_is_served_as_it_was_trained_and_not_merged(data, tmp_path, capsys):
    """The gate's loss is the engine's own: over the kernels' cache it is the trainer's."""
    out = tmp_path / "run"
    flags = ("--method", "prefix", "--num-virtual-tokens", "8", "--num-train-epochs", "20")
    assert tune(data, out, *flags, "--validation", str(data), "--require", "stops>=0") == 0
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert lines[-1]["held_out_loss"] < 0.9 * lines[0]["held_out_loss"]
    base, served = json.loads((out / "gate.json").read_text("utf-8"))["stages"]
    assert served["loss"] == pytest.approx(lines[-1]["held_out_loss"], rel=1e-2) != base["loss"]
    assert "serve it: fairway serve builtin --lora run=" in capsys.readouterr().out
    command = ["convert", "builtin", "--to", "safetensors", "--adapter", str(out / "adapter")]
    assert run(command) == 4
    assert "is a prefix" in capsys.readouterr().err


@needs_torch
def test_a_prefix_that_leaves_no_room_is_refused(data, tmp_path, capsys):
    assert tune(data, tmp_path / "run", "--method", "prefix", "--num-virtual-tokens", "2040") == 2
    assert "virtual ones before it are more than the model's context" in capsys.readouterr().err


@needs_torch
def test_all_weights_become_a_model_that_answers(data, tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    flags = ("--method", "full", "--num-train-epochs", "30", "--learning-rate", "1e-3")
    assert tune(data, out, *flags) == 0
    assert answers(out / "model", capsys, monkeypatch) == list(FACTS.values())


@needs_torch
def test_early_stopping_keeps_the_best(data, tmp_path, capsys):
    held_out = tmp_path / "held.jsonl"
    held_out.write_text(json.dumps({"prompt": "Who paints?", "completion": "Nobody paints at night."}) + "\n")
    flags = ("--validation", str(held_out), "--early-stopping-patience", "2", "--learning-rate", "1e-2",
             "--num-train-epochs", "30")  # fmt: skip
    assert tune(data, tmp_path / "run", *flags, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    losses = [loss for _, loss in told["held_out"]]
    assert told["stopped_early"]
    assert losses.index(min(losses)) == len(losses) - 3


@needs_torch
def test_a_quantised_gguf_file_gets_an_adapter_and_no_new_weights(data, tmp_path, capsys):
    model = tmp_path / "builtin.gguf"
    assert run(["quantize", "builtin", "--to", "Q8_0", "--out", str(model)]) == 0
    command = ["tune", str(model), str(data), "--max-steps", "1", "--out", str(tmp_path / "run")]
    assert run([*command, "--method", "full"]) == 4
    assert "--method lora" in capsys.readouterr().err
    assert run(command) == 0
    assert (tmp_path / "run" / "adapter" / "adapter_model.safetensors").is_file()


@needs_torch
def test_plain_text_and_bfloat16_and_recomputed_layers(tmp_path):
    path = tmp_path / "text.jsonl"
    path.write_text('{"text": "The tide turns twice a day."}\n{"text": "Gulls follow the ferry."}\n', "utf-8")
    flags = ("--bf16", "--gradient-checkpointing", "--max-steps", "12", "--learning-rate", "5e-3")
    assert tune(path, tmp_path / "run", *flags) == 0
    lines = (tmp_path / "run" / "metrics.jsonl").read_text("utf-8").splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    assert losses[-1] < losses[0] / 2


@needs_torch
def test_too_little_memory_is_said_before_the_weights_are_read(data, tmp_path, capsys, monkeypatch):
    from fairway.tune import quote

    monkeypatch.setattr(quote, "expected_tensors", lambda _: {"w": Expected((10**13,), "linear")})
    for method, needed in (("lora", "37252.90"), ("qlora", "5238.69"), ("full", "149011.61")):
        assert tune(data, tmp_path / "run", "--method", method) == 5
        assert f"Training builtin needs {needed} GiB of memory at least" in capsys.readouterr().err


@needs_torch
def test_a_quote_writes_nothing(data, tmp_path, capsys):
    assert tune(data, tmp_path / "run", "--dry-run", "--json") == 0
    quote = json.loads(capsys.readouterr().out)
    assert quote["num_updates"] == 3
    assert quote["seconds"] > 0
    assert not (tmp_path / "run").exists()


METHODS = {
    "lora": SMALL,
    "dora": (*SMALL, "--use-dora"),
    "qlora": (*SMALL, "--method", "qlora", "--bnb-4bit-use-double-quant"),
    "prefix": ("--method", "prefix", "--num-virtual-tokens", "4"),
}


@needs_torch
@pytest.mark.timeout(300)
@pytest.mark.parametrize("method", METHODS)
def test_kill_anywhere_and_resume_gives_the_same_bits(method, data, tmp_path):
    dropout = () if method == "prefix" else ("--lora-dropout", "0.1")
    flags = (*METHODS[method], *dropout, "--max-steps", "8", "--save-steps", "2", "--packing",
             "--per-device-train-batch-size", "1", "--gradient-accumulation-steps", "2")  # fmt: skip
    assert tune(data, tmp_path / "whole", *flags) == 0
    out, chance = tmp_path / "killed", random.Random(4)
    more: tuple[str, ...] = flags
    for steps in (1, 3, 6):
        child = process(data, out, *more)
        wait_for(child, out, steps)
        time.sleep(chance.random() * 0.05)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        more = ("--resume",)
    assert tune(data, out, "--resume") == 0
    for name in ("adapter/adapter_model.safetensors", "adapter/adapter_config.json"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    losses = [[json.loads(line)["loss"] for line in (each / "metrics.jsonl").read_text("utf-8").splitlines()]
              for each in (out, tmp_path / "whole")]  # fmt: skip
    assert losses[0] == losses[1]


@needs_torch
def test_ctrl_c_saves_and_says_how_to_go_on(data, tmp_path, capsys):
    out = tmp_path / "run"
    child = process(data, out, *SMALL, "--max-steps", "100000")
    wait_for(child, out, 2)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130
    assert f"Go on with: fairway tune builtin {data} --out {out} --resume" in said
    assert list((out / "checkpoints").glob("*.safetensors"))

    data.write_text(data.read_text("utf-8") * 2, "utf-8")
    assert tune(data, out, "--resume") == 2
    assert "begun with another data" in capsys.readouterr().err


@needs_torch
def test_the_quote_names_a_cost(data, tmp_path, capsys):
    flags = ("--max_steps", "5", "--dry-run", "--price-per-hour", "2.5")
    assert tune(data, tmp_path / "run", *flags, "--json") == 0
    quote = json.loads(capsys.readouterr().out)
    assert quote["cost"] == pytest.approx(quote["seconds"] / 3600 * 2.5)
    assert tune(data, tmp_path / "run", *flags) == 0
    assert "at 2.5 per hour." in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@needs_torch
@pytest.mark.parametrize(
    ("features", "flags", "said"),
    [
        ({"avx2"}, ["--bf16"], "Without --bf16 it would be faster"),
        ({"avx512_bf16"}, [], "With --bf16 it would be faster"),
        ({"avx512_bf16"}, ["--bf16"], None),
        ({"avx2"}, [], None),
    ],
)
def test_the_quote_says_which_type_is_fast_here(features, flags, said, data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cpu, "read_processor", lambda system: cpu.Processor("one", frozenset(features)))
    monkeypatch.setattr(tune_train, "GAINS_FROM_BFLOAT16", 1_000)
    assert tune(data, tmp_path / "run", "--dry-run", *flags) == 0
    printed = capsys.readouterr().err
    assert said in printed if said else "bf16" not in printed


@needs_torch
def test_memory_that_ends_is_a_sentence_and_the_last_checkpoint_is_intact(
    data, tmp_path, capsys, monkeypatch
):
    """The third update asks for more than any machine has, and PyTorch answers as it does."""
    import torch

    from fairway.tune.trainer import Trainer

    out, gradients = tmp_path / "run", Trainer.gradients

    def greedy(trainer, step):
        return torch.empty(1 << 58) if step == 2 else gradients(trainer, step)

    monkeypatch.setattr(Trainer, "gradients", greedy)
    assert tune(data, out, *SMALL, "--max-steps", "4", "--save-steps", "1") == 5
    said = capsys.readouterr().err
    assert "Memory ran out in update 3; the checkpoint of update 2 is intact." in said
    monkeypatch.setattr(Trainer, "gradients", gradients)
    assert tune(data, out, "--resume") == 0
    assert len((out / "metrics.jsonl").read_text("utf-8").splitlines()) == 4


@needs_torch
def test_from_scratch_it_begins_with_no_knowledge(data, tmp_path, capsys):
    flags = ("--method", "full", "--init", "random", "--max-steps", "2", "--validation", str(data), "--json")
    assert tune(data, tmp_path / "run", *flags) == 0
    [[_, before], *_] = json.loads(capsys.readouterr().out)["held_out"]
    assert 8.1 < before < 8.6  # ln 4096 is 8.32
