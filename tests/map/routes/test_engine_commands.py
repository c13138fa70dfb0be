"""The command lines that a plan prints for other engines: their own programs take every flag."""

import shlex
import shutil
from pathlib import Path

import pytest
from record_engine_flags import TABLE, flags_of

from fairway.map.catalogue import load_catalogue
from fairway.map.engines import engines
from fairway.settings import read_table

CATALOGUE = load_catalogue(environment={"XDG_CONFIG_HOME": "/nonexistent"})
FLAGS = read_table(TABLE)
OTHERS = [engine for engine in engines().values() if engine.id != "native"]


def command_of(engine, model="a folder/model"):
    path = Path(model)
    values = {
        "folder": shlex.quote(str(path.parent)),
        "name": path.name,
        "context": 512,
        "users": 3,
        "devices": 2,
    }
    words = engine.serve.format(model=model if engine.is_library else shlex.quote(model), **values)
    return shlex.split(f"{words} {engine.weights[-1].flag}".strip())


def program_of(words):
    return words[2] if words[:2] == ["python", "-m"] else words[0]


@pytest.mark.parametrize("engine", OTHERS, ids=lambda engine: engine.id)
def test_every_flag_is_one_that_the_program_takes(engine):
    words = command_of(engine)
    if engine.is_library:
        assert words[:2] == ["python", "-c"]
        compile(words[2], "the printed line", "exec")
        return
    known = FLAGS[program_of(words)]
    assert known["from"] in ("recorded", "documentation") and known["source"]
    assert {word for word in words if word.startswith("-")} - {"-m"} <= set(known["flags"])
    assert any("a folder" in word for word in words), "a path with a space stays one word"


@pytest.mark.parametrize("program", [name for name in FLAGS if shutil.which(name)])
def test_the_installed_program_takes_them(program):
    words = [program, "serve"] if program in ("vllm", "transformers") else [program]
    assert set(FLAGS[program]["flags"]) <= flags_of(words)


@pytest.mark.parametrize("engine", OTHERS, ids=lambda engine: engine.id)
def test_what_is_not_here_is_said_before_anything_is_done(engine, monkeypatch):
    from fairway.cli.plan import run_commands
    from fairway.errors import UsageError

    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"is not installed, so nothing was done") as caught:
        run_commands(("fairway --version", shlex.join(command_of(engine))), is_here=True)
    assert "fairway up" in caught.value.hint
