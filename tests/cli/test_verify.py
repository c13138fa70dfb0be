"""`fairway verify`: verdict in the first line, the exit code, JSON, the report, and acceptance."""

import json
import shutil

import numpy as np
import pytest

from fairway.cli.main import run
from fairway.formats.open import open_bundle
from fairway.formats.safetensors_writer import tensor_data, write_safetensors
from fairway.models.conversion import floats_of
from fairway.registry.resolve import BUILTIN_FOLDER
from fairway.tensors import DenseTensor


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "boats.txt"
    path.write_text("The little boat went down the river, and the river went down to the sea. " * 12, "utf-8")
    return path


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """The built-in model with the rows of one matrix upside down."""
    folder = tmp_path_factory.mktemp("broken") / "model"
    shutil.copytree(BUILTIN_FOLDER, folder)
    bundle = open_bundle(BUILTIN_FOLDER)
    tensors = {}
    for name in bundle.tensors.infos:
        tensor = bundle.tensors.read(name)
        if name == "model.layers.3.mlp.up_proj.weight":
            tensor = DenseTensor("bf16", np.ascontiguousarray(tensor.values[::-1]))
        tensors[name] = tensor_data(tensor)
    write_safetensors(folder / "model.safetensors", tensors)
    return folder


def verify(*arguments):
    return run(["verify", *(str(argument) for argument in arguments)])


def test_a_model_equals_itself(text, capsys):
    assert verify("builtin", BUILTIN_FOLDER, "--quick", "--text", text) == 0
    out = capsys.readouterr().out
    assert out.startswith("passed: All 7 checks passed. (lossless hop)\n")
    assert "56 of 56 bit-exact" in out and "boats.txt" in out


def test_a_broken_model_fails_and_names_the_tensor(broken, text, capsys):
    assert verify("builtin", broken, "--quick", "--text", text) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert out.startswith("failed: 3 of 7 checks failed: tensors, layers, predictions.")
    assert "departs in layer 3 at model.layers.3.mlp.up_proj" in out


def test_json_holds_everything_and_nothing_else_is_printed(text, capsys):
    assert verify("builtin", "builtin", "--weights", "int8", "--quick", "--text", text, "--json") == 0
    captured = capsys.readouterr()
    record = json.loads(captured.out)
    assert captured.err == ""
    assert record["thresholds"]["kind"] == "8-bit" and record["verdict"]["passed"] is True
    assert len(record["evidence"]["tensors"]["tensors"]) == 56
    assert record["evidence"]["coverage"]["quantised_share"] == 1
    assert record["evidence"]["logits"]["text"] == "boats.txt"


def test_acceptance_is_recorded_and_changes_the_exit_code(broken, text, capsys):
    arguments = ("builtin", broken, "--quick", "--text", text, "--json")
    assert verify(*arguments, "--accept", "an experiment") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["verdict"]["passed"] is False and record["accepted"]["reason"] == "an experiment"
    assert verify("builtin", "builtin", "--quick", "--text", text, "--json", "--accept", "no need") == 0
    assert json.loads(capsys.readouterr().out)["accepted"] is None
    assert verify(*arguments, "--accept", " ") == 2
    assert "needs a reason" in capsys.readouterr().err


def test_the_report_is_written_whole(text, tmp_path, capsys):
    page = tmp_path / "report.html"
    assert verify("builtin", "builtin", "--weights", "int4", "--quick", "--text", text, "--html", page) == 0
    written = page.read_text("utf-8")
    assert written.startswith("<!doctype html>") and written.rstrip().endswith("</html>")
    assert "All 8 checks passed." in written and "<svg" in written


def test_weights_alone_are_compared_without_running_a_model(broken, tmp_path, capsys):
    for name, folder in (("a", BUILTIN_FOLDER), ("b", broken)):
        (tmp_path / name).mkdir()
        shutil.copy(folder / "model.safetensors", tmp_path / name)
    assert verify(tmp_path / "a", tmp_path / "a", "--weights-only") == 0
    out = capsys.readouterr().out
    assert "56 of 56 bit-exact" in out and "–  tokenizer" in out and "–  predictions" in out
    assert verify(tmp_path / "a", tmp_path / "b", "--weights-only") == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "55 of 56 bit-exact" in out and "model.layers.3.mlp.up_proj.weight" in out
    assert verify("builtin", broken, "--weights-only", "--quick") == 1
    assert "the models were not run" in " ".join(capsys.readouterr().out.split())


def test_mistakes_are_sentences(tmp_path, capsys):
    latin = tmp_path / "latin.txt"
    latin.write_bytes("Öl".encode("latin-1"))
    assert verify("builtin", "builtin", "--text", latin) == 2
    assert "not UTF-8" in capsys.readouterr().err
    assert verify("builtin", "builtin", "--html", tmp_path / "no" / "page.html") == 2
    assert "There is no folder" in capsys.readouterr().err
    assert verify("builtin", tmp_path / "nothing") == 2
    assert "There is no" in capsys.readouterr().err
    assert verify("builtin", "builtin", "--text", tmp_path / "missing.txt") != 0
    assert "No such file" in capsys.readouterr().err


def test_floats_of_the_broken_copy_differ_in_one_tensor(broken):
    ours, theirs = open_bundle(BUILTIN_FOLDER).tensors, open_bundle(broken).tensors
    differing = [
        n for n in ours.infos if not np.array_equal(floats_of(ours.read(n)), floats_of(theirs.read(n)))
    ]
    assert differing == ["model.layers.3.mlp.up_proj.weight"]
