"""`fairway tune --check`: the verdict, the exit code, JSON, the page, and honesty about training."""

import json
import os
import re
import subprocess
import sys

import pytest

from fairway.cli.main import run
from fairway.registry.resolve import BUILTIN_FOLDER

pytestmark = pytest.mark.skipif(
    not (BUILTIN_FOLDER / "model.safetensors").exists(), reason="the built-in model is not here"
)


def line(question, answer):
    return json.dumps(
        {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}
    )


@pytest.fixture
def good(tmp_path):
    path = tmp_path / "good.jsonl"
    path.write_text(
        "\n".join(line(f"Tell me about {word}.", f"{word} is old.") for word in ("tea", "sea", "pea"))
    )
    return path


@pytest.fixture
def bad(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text("\n".join([line("Hi", "Hello."), "{", line("Hi", ""), line("Hi", "Hello.")]))
    return path


def test_good_data_passes(good, capsys):
    assert run(["tune", "builtin", "--check", str(good)]) == 0
    shown = capsys.readouterr().out
    assert "OpenAI messages (JSON lines)" in shown
    assert "3 of 3 examples" in shown
    assert "tea is old.<|end|>" in shown
    assert shown.strip().splitlines()[-1] == "✓ builtin can learn this: 0 errors, 0 warnings."


def test_bad_data_is_named_and_fails(bad, capsys):
    assert run(["tune", "builtin", "--check", str(bad)]) == 1
    shown = capsys.readouterr().out
    assert "bad.jsonl line 2: not valid JSON" in shown
    assert "bad.jsonl line 3: messages[1] is an empty assistant turn" in shown
    assert "bad.jsonl line 4: as line 1" in shown
    assert shown.strip().splitlines()[-1] == "✗ builtin cannot learn this as it is: 2 errors, 1 warning."


def test_everything_is_in_the_json(good, bad, capsys):
    assert run(["tune", "builtin", str(good), "--check", "--json", "--validation", str(bad)]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["passed"], found["model"], found["learn"], found["max_length"]) == (
        False,
        "builtin",
        "assistant",
        1024,
    )
    training, held_out = found["files"]
    assert (training["num_rows"], training["num_examples"], training["findings"]) == (3, 3, [])
    assert [token["text"] for token in training["shown"][0]["tokens"]][-1] == "<|end|>"
    assert {each["kind"]: each["count"] for each in held_out["findings"]} == {"json": 1, "empty-answer": 1}
    assert held_out["findings"][0]["first"][0]["place"] == "bad.jsonl line 2"
    assert held_out["num_errors"] == 2


def test_a_held_out_row_may_not_be_in_the_data(good, capsys):
    assert run(["tune", "builtin", "--check", str(good), "--validation", str(good), "--preview", "0"]) == 1
    assert "3 rows: also in the training data" in capsys.readouterr().out


def test_warnings_fail_only_when_that_is_asked_for(tmp_path, capsys):
    path = tmp_path / "twice.jsonl"
    path.write_text("\n".join([line("Hi", "Hello.")] * 2))
    assert run(["tune", "builtin", "--check", str(path)]) == 0
    assert run(["tune", "builtin", "--check", "--strict", str(path)]) == 1
    assert "the same as an earlier row" in capsys.readouterr().out


def test_long_rows(tmp_path, capsys):
    path = tmp_path / "long.jsonl"
    path.write_text("\n".join([line("Hi", "Hello. " * 9), line("Hi", "Yes.")]))
    command = ["tune", "builtin", "--check", str(path), "--max-length", "20", "--preview", "0"]
    assert run(command) == 1
    assert "tokens, 20 fit" in capsys.readouterr().out
    assert run([*command, "--too-long", "skip"]) == 0
    assert "1 row: left out" in capsys.readouterr().out
    assert run([*command, "--too-long", "truncate"]) == 0
    assert "tokens are cut off" in capsys.readouterr().out


def test_a_page_can_be_written(good, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert run(["tune", "builtin", "--check", str(good), "--html", str(page)]) == 0
    assert "good.jsonl can be learned" in page.read_text("utf-8")
    assert run(["tune", "builtin", "--check", str(good), "--html", str(tmp_path / "none" / "page.html")]) == 2
    assert "There is no folder" in capsys.readouterr().err


def test_files_that_cannot_be_read(tmp_path, capsys):
    assert run(["tune", "builtin", "--check", str(tmp_path / "absent.jsonl")]) == 2
    assert "absent.jsonl is not there" in capsys.readouterr().err


def test_raw_pairs(tmp_path, capsys):
    path = tmp_path / "raw.csv"
    path.write_text('prompt,completion\nOnce upon," a time."\n')
    assert run(["tune", "builtin", "--check", "--raw", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "<|user|>" not in shown
    assert re.search(r"Once upon a time\.<\|end\|>", shown)


def test_colours_tell_what_is_learned(good):
    environment = os.environ | {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "200"}
    environment.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "fairway.cli.main", "tune", "builtin", "--check", str(good)]
    done = subprocess.run(command, capture_output=True, env=environment, timeout=60, check=True)
    shown = done.stdout.decode("utf-8")
    assert "\x1b[1;30;42m<|end|>" in shown
    tokens = shown.split("tokens are learned")[1]
    learned, masked = (re.findall(rf"\x1b\[(?:{codes})m([^\x1b]*)", tokens) for codes in ("32|92", "90|37"))
    assert "".join(learned).endswith("tea is old.")
    assert "<|user|> Tell me about tea." in "".join(masked)
