"""`fairway run` and `inspect` on a Modelfile, with an adapter too."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import fairway
from fairway.cli.inspect import inspect
from fairway.cli.run import run
from fairway.errors import UnsupportedError
from fairway.formats.lora import Adapter, LoraLayer
from fairway.formats.lora_peft import write_peft
from fairway.tensors import DenseTensor

BUILTIN = Path(fairway.__file__).parent / "builtin"


@pytest.fixture
def write(tmp_path, monkeypatch):
    """One cache of packed weights for all that a test runs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def written(text):
        (tmp_path / "Modelfile").write_text(
            f"FROM {BUILTIN}\nPARAMETER temperature 0\nPARAMETER num_predict 12\n{text}"
        )
        return str(tmp_path / "Modelfile")

    return written


def answer(model):
    result = CliRunner().invoke(run, [model, "Tell me a story.", "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def adapter_folder(path, scale):
    numbers = np.random.default_rng(0)
    layers = {
        f"model.layers.{n}.mlp.down_proj": LoraLayer(
            DenseTensor("f32", numbers.standard_normal((2, 768), np.float32)),
            DenseTensor("f32", numbers.standard_normal((256, 2), np.float32)),
            scale,
        )
        for n in range(6)
    }
    write_peft(Adapter("made", None, layers), path)
    return path


def test_an_adapter_is_merged_when_the_model_is_loaded(write, tmp_path):
    plain = answer(write(""))
    strong = answer(write(f"ADAPTER {adapter_folder(tmp_path / 'strong', 1.0)}\n"))
    silent = answer(write(f"ADAPTER {adapter_folder(tmp_path / 'silent', 0.0)}\n"))
    assert strong["text"] != plain["text"]
    assert silent["text"] == plain["text"]


def test_a_system_message_of_the_file_is_told(write):
    longer = answer(write("SYSTEM You are a pirate who only shouts.\n"))
    assert longer["prompt_tokens"] > answer(write(""))["prompt_tokens"]


def test_inspect_says_what_it_is_and_that_the_adapter_is_apart(write, tmp_path):
    model = write(f"ADAPTER {adapter_folder(tmp_path / 'a', 1.0)}\nTEMPLATE {{{{ .Prompt }}}}\n")
    result = CliRunner().invoke(inspect, [model, "--json"])
    found = json.loads(result.stdout)
    assert found["has_chat_template"]
    assert "puts the adapter a on" in found["cannot_run"]


def test_an_adapter_of_another_kind_is_named(write, tmp_path):
    folder = adapter_folder(tmp_path / "a", 1.0)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"use_bdlora": True}))
    result = CliRunner().invoke(run, [write(f"ADAPTER {folder}\n"), "x", "--json"])
    assert isinstance(result.exception, UnsupportedError)
    assert "block-diagonal LoRA" in str(result.exception)
