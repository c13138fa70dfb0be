"""`fairway map` and `fairway explain` as people and programs call them."""

import json

import pytest
from click.testing import CliRunner

from fairway.cli.explain import explain
from fairway.cli.main import run
from fairway.cli.map import map as map_command
from fairway.map.catalogue import load_catalogue

CATALOGUE = load_catalogue(environment={"XDG_CONFIG_HOME": "/nonexistent"})


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def said(command, *args):
    result = CliRunner().invoke(command, args, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_map_names_every_stage_and_tool():
    text = said(map_command)
    for stage in CATALOGUE.stages.values():
        assert f"{stage.order} {stage.name}" in text
    flat = " ".join(text.split())
    for name in ("vLLM", "PyTorch", "Netron", "Weights & Biases", "NVIDIA Dynamo"):
        assert name in flat
    assert "runs here now" in text and "needs an account" in text


def test_a_role_and_what_it_may_ignore():
    theirs, others = said(map_command, "--role", "infra"), said(map_command, "--role", "infra", "--ignore")
    assert "Infra engineer: Converts, compresses and runs models" in theirs and "QLoRA" not in theirs
    assert "May be left to others" in others and "QLoRA" in others and "Netron" not in others


def test_a_format_with_its_conversions():
    text = said(map_command, "--format", "GGUF")
    assert (
        "safetensors → gguf" in text and "fairway convert MODEL --to gguf" in text and "Diffusers" not in text
    )


def test_json_has_the_same():
    found = json.loads(said(map_command, "--stage", "serve", "--json"))
    assert {tool["stage"] for tool in found["tools"]} == {"serve"}
    vllm = next(tool for tool in found["tools"] if tool["id"] == "vllm")
    assert vllm["fairway"] == "speaks" and "safetensors" in vllm["reads"] and vllm["sources"]
    assert any(lane["reads"] == "safetensors" and lane["writes"] == "gguf" for lane in found["conversions"])


def test_disagreements_are_told_with_both_sides():
    text = said(map_command, "--disagreements")
    assert "AirBrix, also Airbrix" in text and "Now (2026-11): AIBrix" in text
    found = json.loads(said(map_command, "--disagreements", "--json"))
    assert len(found) == len(CATALOGUE.disagreements) and len(found[0]["statements"]) >= 2


def test_a_page_is_written(tmp_path):
    path = tmp_path / "map.html"
    assert said(map_command, "--html", str(path)) == f"Wrote {path}.\n"
    assert path.read_text("utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["map", "--ignore"], "--ignore needs a role. / For example: fairway map --role infra --ignore"),
        (["map", "--role", "infar"], "There is no role named infar in the catalogue. / Did you mean infra?"),
        (
            ["map", "--stage", "sreve"],
            "There is no stage named sreve in the catalogue. / Did you mean serve?",
        ),
        (["map", "--format", "ggfu"], "There is no format named ggfu in the catalogue. / Did you mean gguf?"),
        (
            ["map", "--html", "/none/such/map.html"],
            "There is no folder /none/such for map.html. / Make it first.",
        ),
        (["map", "--catalogue", "/none.toml"], "/none.toml cannot be read: No such file or directory."),
        (
            ["explain", "pagedatention"],
            "There is no term pagedatention in the glossary. / Did you mean PagedAttention",
        ),
    ],
)
def test_a_mistake_is_one_sentence(args, sentence, capsys):
    assert run(args) == 2
    assert sentence in " / ".join(capsys.readouterr().err.splitlines())


def test_files_of_the_user_count_by_flag_setting_and_folder(tmp_path, monkeypatch):
    def term(name, text):
        return f'[terms.{name}]\nname = "{name}"\ntext = "{text}"\nsources = ["fairway"]\n'

    (tmp_path / "flag.toml").write_text(term("flagged", "By a flag."), "utf-8")
    (tmp_path / "set.toml").write_text(term("configured", "By a setting."), "utf-8")
    folder = tmp_path / "fairway" / "catalogue"
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text(term("foldered", "By the folder."), "utf-8")
    monkeypatch.setenv("FAIRWAY_CATALOGUE_FILES", str(tmp_path / "set.toml"))
    flag = ("--catalogue", str(tmp_path / "flag.toml"))
    assert "By a flag." in said(explain, "flagged", *flag)
    assert "By a setting." in said(explain, "configured")
    assert "By the folder." in said(explain, "Foldered")


def test_a_view_of_nothing_says_so(capsys):
    assert run(["map", "--role", "infra", "--stage", "train", "--format", "gguf"]) == 0
    assert "No tool is all of that at once" in capsys.readouterr().out


def test_an_explanation_for_people_and_for_programs():
    text = said(explain, "paged", "attention")
    assert text.startswith("PagedAttention\n") and "Lives in: src/fairway/engine/block_pool.py" in text
    assert "Source: article 1; Kwon et al., PagedAttention (2023)" in text
    assert json.loads(said(explain, "GGUF", "--json"))["term"] == "gguf"


def test_without_a_term_all_are_listed():
    text = said(explain)
    for name in ("PagedAttention", "GGUF", "LoRA", "Zero-copy"):
        assert name in text
    assert len(json.loads(said(explain, "--json"))) == len(CATALOGUE.terms)
