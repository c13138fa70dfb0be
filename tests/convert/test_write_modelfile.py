"""Bundles written as Modelfiles, and read again."""
# ruff: noqa: E501 (Modelfiles)

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from model_folders import converted, make_folder

import fairway
from fairway.convert import modelfile
from fairway.convert.hops import convert, prepare
from fairway.convert.modelfile import write_modelfile
from fairway.convert.settings import ConvertSettings
from fairway.errors import ProofFailed
from fairway.formats.bundle import GenerationDefaults, Preset
from fairway.formats.lora import Adapter, LoraLayer
from fairway.formats.lora_peft import write_peft
from fairway.formats.open import open_bundle
from fairway.tensors import DenseTensor
from fairway.text.loader import load_template, load_tokenizer

BUILTIN = Path(fairway.__file__).parent / "builtin"
TALK = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi"},
    {"role": "user", "content": "A story?"},
]


def prompt(bundle):
    tokenizer = load_tokenizer(bundle.tokenizer)
    return load_template(bundle.chat_template, tokenizer).render(TALK)


def test_a_model_keeps_its_prompts_parameters_and_ends(tmp_path):
    bundle = open_bundle(BUILTIN)
    written = write_modelfile(bundle, tmp_path / "Modelfile")
    again = open_bundle(tmp_path / "Modelfile")
    assert prompt(again) == prompt(bundle)
    assert prompt(again).count("<s>") == prompt(bundle).count("<s>") == 1
    assert again.generation == bundle.generation
    assert again.preset.stop == ("</s>", "<|end|>")
    assert again.licence == bundle.licence
    assert again.tensors.infos == bundle.tensors.infos
    assert all(f"# {note}\n" in (tmp_path / "Modelfile").read_text() for note in written.notes)


def test_what_a_modelfile_said_is_said_again(tmp_path):
    text = (
        f'FROM {BUILTIN}\nTEMPLATE {{{{ .System }}}}{{{{ .Prompt }}}}\nSYSTEM """two\nlines """\nMESSAGE user a\n'
        'MESSAGE assistant " b"\nPARAMETER num_ctx 77\nPARAMETER stop "x\ny"\nPARAMETER temperature 0.123456789\nPARAMETER seed 1234567\n'
        "REQUIRES 0.9.0\n"
    )
    (tmp_path / "Modelfile").write_text(text)
    first = open_bundle(tmp_path / "Modelfile")
    other = tmp_path / "again"
    other.mkdir()
    write_modelfile(first, other / "Modelfile", BUILTIN)
    second = open_bundle(other / "Modelfile")
    stops = ("x\ny", "</s>", "<|end|>")
    assert second.preset == replace(first.preset, stop=stops)
    assert second.generation == first.generation


def test_a_file_beside_it_is_named_relatively(tmp_path):
    bundle = replace(
        open_bundle(BUILTIN),
        chat_template="{{ raise_exception('a\nSYSTEM b') }}",
        generation=GenerationDefaults(),
    )
    (tmp_path / "model.gguf").touch()
    written = write_modelfile(bundle, tmp_path / "Modelfile", tmp_path / "model.gguf")
    assert written.modelfile.last("from") == "./model.gguf"
    assert written.modelfile.last("template") is None
    assert "no equal" in written.notes[0]
    assert written.path.read_text().splitlines()[0].endswith("a SYSTEM b.")
    assert written.modelfile.last("system") is None


def test_presets_without_a_tokenizer_are_written_too(tmp_path):
    preset = Preset(system="s", seed=3, stop=("a",))
    bundle = replace(open_bundle(BUILTIN), tokenizer=None, preset=preset)
    written = write_modelfile(bundle, tmp_path / "Modelfile", BUILTIN)
    assert written.modelfile.parameters["seed"] == ["3"]
    assert written.modelfile.parameters["stop"] == ["a"]


def test_the_hop_makes_a_gguf_file_and_the_modelfile_that_names_it(tmp_path):
    source = make_folder(tmp_path / "source", vocabulary="spm")
    published = converted(source, "modelfile", tmp_path / "out", type="Q8_0")
    assert sorted(path.name for path in published.path.iterdir()) == [
        "Modelfile",
        "fairway.json",
        "model.gguf",
    ]
    again = open_bundle(published.path / "Modelfile")
    assert again.container == "gguf"
    assert prompt(again) == "<s>" + prompt(open_bundle(source))
    assert "# Ollama puts <s> before every prompt" in (published.path / "Modelfile").read_text()
    assert again.generation == open_bundle(source).generation
    assert {info.type for info in again.tensors.infos.values()} == {"Q8_0", "F32"}


def test_the_hop_merges_adapters_first(tmp_path):
    source = make_folder(tmp_path / "source", vocabulary="spm")
    base = open_bundle(source)
    name = "model.layers.0.self_attn.q_proj"
    ones = LoraLayer(
        DenseTensor("f32", np.ones((1, 64), np.float32)),
        DenseTensor("f32", np.ones((64, 1), np.float32)),
        2.0,
    )
    write_peft(Adapter("mine", None, {name: ones}), tmp_path / "mine")
    converted(source, "gguf", tmp_path / "out.gguf", type="F32", adapters=(tmp_path / "mine",))
    again = open_bundle(tmp_path / "out.gguf")
    before, after = (each.tensors.read(f"{name}.weight").values for each in (base, again))
    assert np.array_equal(after, before + np.float32(2))
    assert [step.hop for step in again.lineage.steps] == ["merge adapter", "huggingface -> gguf"]


def test_a_gguf_file_gets_a_modelfile_too(tmp_path):
    converted(make_folder(tmp_path / "source", vocabulary="spm"), "gguf", tmp_path / "model-F32.gguf")
    published = converted(tmp_path / "model-F32.gguf", "modelfile", tmp_path / "out")
    again = open_bundle(published.path / "Modelfile")
    assert again.tensors.infos == open_bundle(tmp_path / "model-F32.gguf").tensors.infos


def test_a_modelfile_is_a_source_like_its_model(tmp_path):
    make_folder(tmp_path / "source", vocabulary="spm")
    (tmp_path / "Modelfile").write_text(
        "FROM ./source\nSYSTEM Be brief.\nTEMPLATE {{ .System }}: {{ .Prompt }}\n"
    )
    published = converted(tmp_path / "Modelfile", "modelfile", tmp_path / "out")
    again = open_bundle(published.path / "Modelfile")
    assert (again.preset.system, again.preset.ollama_template) == (
        "Be brief.",
        "{{ .System }}: {{ .Prompt }}",
    )
    assert prompt(again) == prompt(open_bundle(tmp_path / "Modelfile"))


SAYS = """FROM ./{base}
SYSTEM You are kind.
PARAMETER temperature 0.5
PARAMETER stop "###"
TEMPLATE {{{{ if .System }}}}{{{{ .System }}}}{{{{ end }}}}: {{{{ .Prompt }}}}
"""


@pytest.mark.parametrize("base", ["source", "source.gguf"])
@pytest.mark.parametrize("to", ["safetensors", "gguf", "onnx"])
def test_what_other_formats_can_say_of_a_modelfile_is_said_there(tmp_path, base, to):
    converted(make_folder(tmp_path / "source", vocabulary="spm"), "gguf", tmp_path / "source.gguf")
    (tmp_path / "Modelfile").write_text(SAYS.format(base=base))
    source = open_bundle(tmp_path / "Modelfile")
    conversion = prepare(source, ConvertSettings(to=to, out=tmp_path / "out"))
    assert conversion.notes[0].startswith("Only a Modelfile can say system, stop")
    assert convert(conversion).verdict.passed
    again = open_bundle(tmp_path / "out")
    assert again.generation.temperature == 0.5
    assert prompt(again) == prompt(source)


@pytest.mark.parametrize("base", ["source", "source.gguf"])
def test_the_proof_of_a_modelfile_compares_what_it_adds(tmp_path, base, monkeypatch):
    converted(make_folder(tmp_path / "source", vocabulary="spm"), "gguf", tmp_path / "source.gguf")
    (tmp_path / "Modelfile").write_text(SAYS.format(base=base))
    assert converted(tmp_path / "Modelfile", "modelfile", tmp_path / "out").verdict.passed
    monkeypatch.setattr(modelfile, "_stops", lambda *arguments: [])
    with pytest.raises(ProofFailed, match="Answering defaults: 1 differ"):
        converted(tmp_path / "Modelfile", "modelfile", tmp_path / "lost")
