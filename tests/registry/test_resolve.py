"""MODEL to files, without any network."""

from pathlib import Path

import pytest

from fairway.errors import ModelNotFound
from fairway.registry import resolve as module
from fairway.registry.resolve import on_disk, resolve


@pytest.fixture
def builtin(tmp_path, monkeypatch):
    folder = tmp_path / "builtin"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    monkeypatch.setattr(module, "BUILTIN_FOLDER", folder)
    return folder


@pytest.mark.parametrize("model", [None, "builtin"])
def test_nothing_is_the_built_in_model(builtin, model):
    found = resolve(model)
    assert (found.path, found.origin) == (builtin, "builtin")


def test_an_installation_without_it_says_so(builtin):
    (builtin / "config.json").unlink()
    with pytest.raises(ModelNotFound, match="has no built-in model"):
        resolve(None)


def test_an_existing_path_is_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org" / "name").mkdir(parents=True)
    assert resolve("org/name").origin == "path"
    assert resolve(str(tmp_path)).path == tmp_path


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("./models/babylama", r"no file or folder ./models/babylama. Did you mean models/babyllama\?"),
        ("models/n-Q4.gguf", r"Did you mean models/m-Q4.gguf\?"),
        ("/absent/x", r"In /absent there is nothing like it"),
        ("modells", r"modells is neither a file or folder here nor a hub id. Did you mean models\?"),
        ("bultin", r"Did you mean builtin\?"),
        ("qqq", r"A hub id has the form org/name"),
    ],
)
def test_what_is_not_there_is_named_with_what_is_near(tmp_path, monkeypatch, model, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "models" / "babyllama").mkdir(parents=True)
    (tmp_path / "models" / "m-Q4.gguf").touch()
    with pytest.raises(ModelNotFound, match=message):
        resolve(model)


def test_looking_at_a_model_never_downloads(builtin, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert on_disk("builtin") == builtin
    assert on_disk(str(tmp_path)) == tmp_path
    assert on_disk("org/absent") == Path("org/absent")
    snapshot = tmp_path / "models--org--name" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "m.gguf").touch()
    (tmp_path / "models--org--name" / "refs").mkdir()
    (tmp_path / "models--org--name" / "refs" / "main").write_text("abc")
    assert on_disk("org/name") == snapshot / "m.gguf"
