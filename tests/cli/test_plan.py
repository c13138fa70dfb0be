"""`fairway plan` as a user runs it: one screen, JSON, refusals, history, and the way it goes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from fairway.cli import main
from fairway.cli.plan import run_commands
from fairway.cli.prepare import Planned, load
from fairway.errors import DoesNotFit, ToolFailed, UsageError
from fairway.kernels.machine_limits import MachineLimits
from fairway.kernels.select import why_reference
from fairway.map.history import Subject, note
from fairway.map.known_limits import FILE_NAME, KnownLimits, fingerprint
from fairway.map.probe import probe
from fairway.map.state import state_folder, write_state

FAIRWAY = [sys.executable, "-m", "fairway.cli.main"]
KNOWN = KnownLimits(MachineLimits(2, 54e9, 2.17e12, 0.54e12, 1.0e12), (), "2026-11-20T20:00:00Z")


@pytest.fixture(autouse=True)
def known_machine(tmp_path, monkeypatch):
    """Limits are there already, so that no test measures."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    write_state(state_folder() / FILE_NAME, {fingerprint(probe()): KNOWN.to_dict()})


def run(capsys, *args):
    code = main.run(list(args))
    seen = capsys.readouterr()
    return code, seen.out, seen.err


def test_the_builtin_model(capsys):
    code, out, _ = run(capsys, "plan")
    assert code == 0
    for word in (
        "runtime",
        "Fairway, stored",
        "hops",
        "memory",
        "tokens/s",
        "Instead",
        "Why not",
        "fairway up",
    ):
        assert word in out


def test_a_device_of_the_map_as_json(capsys):
    code, out, _ = run(capsys, "plan", "random:qwen2.5-0.5b", "--on", "H100", "--users", "32", "--json")
    data = json.loads(out)
    assert code == 0 and data["best"]["device"] == "NVIDIA H100 SXM"
    assert data["best"]["cost"]["per_million"] > 0 and len(data["alternatives"]) == 2 and data["why_not"]


def test_adapters_are_planned_for_here_and_elsewhere(capsys):
    flags = ("--adapters", "8", "--adapter-rank", "16")
    for place in ((), ("--on", "H100")):
        code, out, _ = run(capsys, "plan", "random:qwen2.5-0.5b", *place, *flags, "--json")
        best = json.loads(out)["best"]
        assert code == 0 and best["memory"]["adapter_bytes"] > 100e6
        if not place and best["engine"] == "native":
            assert "--adapters 8 --adapter-rank 16" in best["commands"][-1]
    code, out, _ = run(capsys, "plan", "random:qwen2.5-0.5b", *flags)
    assert code == 0 and ", adapters " in out


def test_training(capsys):
    code, out, _ = run(capsys, "plan", "random:qwen2.5-0.5b", "--goal", "train")
    assert code == 0 and "LoRA" in out and "fairway tune" in out
    assert json.loads(run(capsys, "plan", "--goal", "train", "--json")[1])["runtime"] == "PyTorch"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["no/such/model/here"], "no/such/model/here"),
        (["random:qwen9"], "no random model"),
        (["--on", "H9000"], "no device named H9000"),
        (["--goal", "smallest", "--weights", "bf16"], "contradict each other"),
        (["--goal", "train", "--users", "3"], "contradict each other"),
        (["--budget", "cheap"], "is no budget"),
        (["--goal", "train", "--weights", "int4"], "--weights is about serving"),
        (["--goal", "train", "--no-enable-prefix-caching"], "--enable-prefix-caching is about serving"),
        (["--goal", "train", "--measure"], "--measure is about serving"),
        (["--goal", "train", "--run"], "--run is about serving"),
        (["--run", "--json"], "contradict each other"),
        (["--measure", "--on", "H100"], "on this machine only"),
        (["--history", "--run"], "is asked alone"),
        (["builtin", "--history"], "is asked alone"),
        (["--users", "99999999999"], "is not in the range"),
        (["--price", "nan"], "is no price"),
        (["--price", "inf"], "is no price"),
        (["--price", "-1"], "is no price"),
        (["--kv-share", "nan"], "must be a finite number"),
        (["--on", "ユニコード"], "no device named ユニコード"),
        (["--budget", "nan"], "is no budget"),
        (["--budget", "1"], "no price is known"),
        (["--on", "H100", "--budget", "1/month"], "the cheapest is"),
    ],
)
def test_what_is_refused_is_one_sentence(capsys, args, says):
    code, out, err = run(capsys, "plan", *args)
    assert code == 2 and out == "" and says in err and "Traceback" not in err


def test_a_machine_that_costs_nothing(capsys):
    code, out, _ = run(capsys, "plan", "--price", "0")
    assert code == 0 and "$0.00 a million tokens" in out


@pytest.mark.skipif(sys.platform != "linux", reason="ulimit -v is Linux's")
@pytest.mark.parametrize("command", ["plan", "bench"])
def test_too_little_memory_is_a_refusal_with_three_ways(command):
    words = [*FAIRWAY, command, "random:qwen2.5-0.5b", "--weights", "bf16", "--context", "32768"]
    shell = f"ulimit -v 1500000; exec {' '.join(words)}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=100, env=os.environ)
    assert done.returncode == DoesNotFit.exit_code, done.stderr
    hint = done.stderr.strip().splitlines()[-1]
    assert hint.startswith("Ways to fit: ") and len(hint.split("; ")) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="ulimit -v is Linux's")
@pytest.mark.parametrize("limit", [250_000, 330_000])
@pytest.mark.parametrize("words", ["up --no-serve", "run builtin hello", "serve builtin --port 0"])
def test_a_server_that_does_not_fit_is_refused_before_it_starts(words, limit):
    shell = f"ulimit -v {limit}; exec {' '.join(FAIRWAY)} {words}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=100, env=os.environ)
    assert done.returncode == DoesNotFit.exit_code, done.stderr
    hint = done.stderr.strip().splitlines()[-1]
    assert hint.startswith("Ways to fit: ") and len(hint.split("; ")) == 3


def test_memory_that_ends_while_loading_is_a_refusal_too(monkeypatch):
    from fairway.cli.screen import screen_for
    from fairway.map.planner import plan
    from fairway.map.settings import PlanSettings
    from fairway.models.random import QWEN2_5_0_5B, random_bundle

    def full(*_):
        raise MemoryError

    monkeypatch.setattr("fairway.runtimes.loading.load_runtime", full)
    bundle = random_bundle(QWEN2_5_0_5B)
    planned = Planned("a model", bundle, plan(bundle, probe(), PlanSettings()))
    with pytest.raises(DoesNotFit, match="the system gave less") as caught:
        load(planned, screen_for(as_json=True))
    assert len(caught.value.hint.split("; ")) == 3


def test_history(capsys):
    assert "Nothing was predicted" in run(capsys, "plan", "--history")[1]
    subject = Subject("bench", probe(), "a model", "native", "int8", 8)
    note(subject, {"decode_tokens_per_s": 100.0}, {"decode_tokens_per_s": 90.0})
    code, out, _ = run(capsys, "plan", "--history")
    assert code == 0 and "a model" in out and "-10%" in out and "1 comparison" in out
    (row,) = json.loads(run(capsys, "plan", "--history", "--json")[1])
    assert row["predicted"] == 100.0 and row["measured"] == 90.0


@pytest.mark.skipif(why_reference() is not None, reason="the reference is not raced")
def test_a_race_is_noted_and_plans_again(capsys, monkeypatch):
    monkeypatch.setattr("fairway.map.routes.race.taken_by_others", lambda: 0.0)
    code, out, _ = run(capsys, "plan", "--measure", "--json")
    data = json.loads(out)
    raced = [lap for lap in data["measured"] if lap["measured"]]
    assert code == 0 and len(raced) >= 2
    assert all(lap["measured"]["decode_tokens_per_s"] > 0 for lap in raced)
    assert all(lap["why_not"] for lap in data["measured"] if not lap["measured"])
    assert len(json.loads(run(capsys, "plan", "--history", "--json")[1])) >= 2 * len(raced)


@pytest.mark.skipif(why_reference() is not None, reason="the reference is not raced")
def test_a_race_on_a_busy_machine_is_not_remembered(capsys, monkeypatch):
    monkeypatch.setattr("fairway.map.routes.race.taken_by_others", lambda: 0.7)
    code, out, _ = run(capsys, "plan", "--measure")
    assert code == 0 and "Others used 70% of the processor" in out
    assert "Nothing was predicted" in run(capsys, "plan", "--history")[1]


def test_the_way_is_gone_command_by_command(capsys, tmp_path):
    out = tmp_path / "tiny.gguf"
    run_commands((f"fairway convert builtin --to gguf --out {out}", "true"), is_here=True)
    assert out.is_file() and "$ fairway convert" in capsys.readouterr().err


def test_the_way_ends_where_it_fails(tmp_path):
    with pytest.raises(ToolFailed, match="ended with 2"):
        run_commands(("fairway up no/such/model/here",), is_here=True)
    with pytest.raises(ToolFailed, match="ended with 1"):
        run_commands(("false", f"touch {tmp_path}/reached"), is_here=True)
    assert not (tmp_path / "reached").exists()
    with pytest.raises(UsageError, match="no-such-server is not installed"):
        run_commands((f"touch {tmp_path}/reached", "no-such-server --port 1"), is_here=True)
    with pytest.raises(UsageError, match="no_such_module is not installed"):
        run_commands(("python -m no_such_module.launch --port 1",), is_here=True)
    assert not (tmp_path / "reached").exists()
    with pytest.raises(UsageError, match="on this machine only"):
        run_commands(("true",), is_here=False)
