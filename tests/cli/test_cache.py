"""`fairway cache`: what is listed is what there is, and clearing removes what was chosen."""

import json
import os
import time

import pytest
from click.testing import CliRunner

from fairway.cli.cache import cache as command
from fairway.cli.main import run
from fairway.models.packed_cache import PackedCache
from fairway.models.packed_file import PackedWriter


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two models, one used ten days ago, and a damaged file."""
    monkeypatch.setenv("FAIRWAY_ENGINE_CACHE_FOLDER", str(tmp_path))
    folder = tmp_path / "packed"
    folder.mkdir()
    now = time.time()
    for name, weights, days in (("one", "int8", 0), ("org/two", "int4", 10)):
        path = folder / f"{weights}.packed"
        with path.open("wb") as file:
            about = {"model": name, "weights": weights, "path": f"/models/{name}/model.safetensors"}
            PackedWriter(file.fileno()).finish(about)
        os.utime(path, (now, now - days * 86_400))
    (folder / "broken.packed").write_bytes(b"half")
    os.utime(folder / "broken.packed", (now, now - 86_400 * 20))
    return folder


def said(*words: str) -> str:
    result = CliRunner().invoke(command, words)
    assert result.exit_code == 0, result.output
    return result.output


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_list_names_models_types_sizes_and_last_use(folder):
    lines = said().splitlines()
    assert lines[0].split() == ["model", "weights", "size", "last", "used"]
    assert lines[1].split()[:2] == ["one", "int8"]
    assert lines[1].rstrip().endswith("just now")
    assert "org/two" in lines[2]
    assert "10 days ago" in lines[2]
    assert "damaged" in lines[3]
    assert "of 40.0 GB" in lines[4]


def test_the_list_as_json_says_the_same(folder):
    found = json.loads(said("--json"))
    assert [entry.get("model") for entry in found["entries"]] == ["one", "org/two", None]
    assert found["total_bytes"] == sum(path.stat().st_size for path in folder.iterdir())
    assert found["max_bytes"] == 40_000_000_000


def test_an_empty_cache_says_where_it_would_be(tmp_path, monkeypatch):
    monkeypatch.setenv("FAIRWAY_ENGINE_CACHE_FOLDER", str(tmp_path))
    assert said() == f"Nothing is kept in {tmp_path / 'packed'}.\n"
    assert json.loads(said("--json"))["entries"] == []


def test_clear_removes_everything(folder):
    assert said("clear").startswith("Removed 3 ")
    assert names(folder) == set()


@pytest.mark.parametrize("model", ["org/two", "/models/org/two", "/models/org/two/model.safetensors"])
def test_clear_one_model_by_name_or_path(folder, model):
    said("clear", model)
    assert names(folder) == {"int8.packed", "broken.packed"}


def test_clear_what_was_not_used_lately(folder):
    found = json.loads(said("clear", "--older-than", "5", "--json"))
    assert len(found["entries"]) == 2
    assert names(folder) == {"int8.packed"}


def test_clearing_a_model_that_is_not_kept_is_an_error_that_says_so(folder, capsys):
    assert run(["cache", "clear", "three"]) == 2
    assert "Nothing is kept of three." in capsys.readouterr().err
    assert len(names(folder)) == 3


def test_the_settings_say_where_and_how_much(tmp_path, monkeypatch):
    from fairway.map.settings import PlanSettings

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert PlanSettings().packed_folder == tmp_path / "fairway" / "packed"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert PlanSettings().packed_folder == tmp_path / ".cache" / "fairway" / "packed"
    assert PlanSettings(cache_gb=0.5).packed_bytes == 500_000_000
    assert PackedCache(PlanSettings().packed_folder, 0).entries() == []
