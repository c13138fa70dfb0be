"""Bundles written as Modelfiles, and read again."""
# ruff: noqa: E501 (Modelfiles)

from dataclasses import replace
from pathlib import Path

import fairway
from fairway.convert.modelfile import write_modelfile
from fairway.formats.bundle import GenerationDefaults, Preset
from fairway.formats.open import open_bundle
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
