"""`fairway serve --lora` and `fairway lora`, as a user runs them beside each other."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from fairway.cli.adapters import parse_loras, with_room
from fairway.errors import UsageError
from fairway.formats.lora_gguf import write_gguf_adapter
from fairway.formats.lora_open import open_adapter, stated_rank
from fairway.map.settings import PlanSettings

sys.path.append(str(Path(__file__).parents[1] / "runtimes"))
from adapter_models import LORA, saved_model
from serve_processes import FAIRWAY, serving

PREFIX = Path(__file__).parents[1] / "runtimes" / "data" / "prefixes" / "prefix"


def lora(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*FAIRWAY, "lora", *args], capture_output=True, text=True, timeout=60)


def test_served_from_the_start_then_listed_loaded_and_unloaded(tmp_path) -> None:
    model = saved_model(tmp_path)
    shutil.copytree(LORA / "patterns", tmp_path / "loras" / "clerk")
    flags = ["--lora", f"poet={LORA / 'plain'}", "--lora-folder", str(tmp_path / "loras")]
    shutil.copytree(PREFIX, tmp_path / "loras" / "before")
    with serving(f"it={model}", *flags) as url:
        assert lora("list", "--url", url).stdout == "poet  on it, rank 4\n"
        assert lora("load", "before", "before", "--url", url).returncode == 0
        assert lora("list", "--url", url).stdout.splitlines()[1] == "before  on it, 6 virtual tokens"
        assert lora("unload", "before", "--url", url).returncode == 0
        done = lora("load", "clerk", "clerk", "--url", url)
        assert (done.returncode, done.stdout) == (0, "Success: LoRA adapter 'clerk' added successfully.\n")
        rows = json.loads(lora("list", "--json", "--url", url).stdout)
        assert [(row["id"], row["parent"]) for row in rows] == [("poet", "it"), ("clerk", "it")]
        body = json.dumps({"model": "it:clerk", "prompt": "w1 w2", "max_tokens": 4, "ignore_eos": True})
        request = urllib.request.Request(
            f"{url}/v1/completions", body.encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert json.load(answer)["usage"]["completion_tokens"] == 4
        again = lora("load", "clerk", "clerk", "--url", url)
        assert (again.returncode, "is loaded already" in again.stderr) == (2, True)
        assert lora("unload", "clerk", "--url", url).returncode == 0
        assert lora("list", "--url", url).stdout == "poet  on it, rank 4\n"


def test_nobody_answers() -> None:
    done = lora("list", "--url", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert "Nothing answers at http://127.0.0.1:1" in done.stderr
    assert lora("list", "--url", "file:///etc").returncode == 2


def test_a_broken_adapter_ends_the_start_with_a_sentence(tmp_path) -> None:
    command = [*FAIRWAY, "up", str(saved_model(tmp_path)), "--no-serve", "--no-cache", "--lora", "x=/nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "There is no adapter at /nowhere." in done.stderr
    assert "Traceback" not in done.stderr


def test_which_model_an_adapter_belongs_to() -> None:
    assert parse_loras(["poet=a/b=c"], ["it"]) == [("it", "poet", Path("a/b=c"))]
    assert parse_loras(["b:poet=x", "a:poet=y"], ["a", "b"]) == [
        ("b", "poet", Path("x")),
        ("a", "poet", Path("y")),
    ]
    assert parse_loras(["ft:it:x=p"], ["it"]) == [("it", "ft:it:x", Path("p"))]
    for wrong, models in (("poet", ["it"]), ("=x", ["it"]), ("poet=", ["it"]), ("poet=x", ["a", "b"])):
        with pytest.raises(UsageError, match="--lora"):
            parse_loras([wrong], models)


@pytest.mark.parametrize(
    ("loras", "adapters", "rank"),
    [
        ([], 0, 16),
        ([f"poet={LORA / 'plain'}"], 1, 16),
        ([f"a={LORA / 'plain'}", f"base:b={LORA / 'patterns'}", "gone=./nowhere"], 2, 16),
        ([f"before={PREFIX}"], 0, 16),
    ],
)
def test_memory_is_kept_for_the_adapters_that_are_named(loras, adapters, rank) -> None:
    settings = with_room(PlanSettings(), loras)
    assert (settings.adapters, settings.adapter_rank) == (adapters, rank)


def test_the_largest_rank_counts_and_more_may_be_asked_for(tmp_path) -> None:
    adapter = open_adapter(LORA / "patterns", {})
    assert stated_rank(LORA / "patterns") == 8 == max(each.rank for each in adapter.layers.values())
    config = json.loads((LORA / "base-llama" / "config.json").read_text())
    write_gguf_adapter(adapter, tmp_path / "it.gguf", config)
    assert stated_rank(tmp_path / "it.gguf") == 8
    settings = with_room(PlanSettings(adapters=5, adapter_rank=2), [f"it={tmp_path / 'it.gguf'}"])
    assert (settings.adapters, settings.adapter_rank) == (5, 8)
