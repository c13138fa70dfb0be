"""A Modelfile opened as a bundle: its model, and everything that it says about it."""

import json

import numpy as np
import pytest

from fairway.errors import FairwayError, FormatError, ModelNotFound, UnsupportedError
from fairway.formats.digest import bundle_digest
from fairway.formats.identify import identify
from fairway.formats.open import open_bundle
from fairway.formats.summary import summarize

SAYS = '''
PARAMETER temperature 0.25
PARAMETER top_k 7
PARAMETER top_p 0.5
PARAMETER min_p 0.1
PARAMETER repeat_penalty 1.2
PARAMETER num_predict -1
PARAMETER num_ctx 16
PARAMETER seed 3
PARAMETER presence_penalty 0.5
PARAMETER stop "<|end|>"
PARAMETER stop <|user|>
PARAMETER stop <|user|>
PARAMETER mirostat 2
TEMPLATE """{{ range .Messages }}[{{ .Role }}]{{ .Content }}{{ end }}[assistant]"""
SYSTEM You are kind.
MESSAGE user Hello
MESSAGE assistant """Hi
there"""
LICENSE """
Apache License
Version 2.0"""
LICENSE second
REQUIRES 0.14.0
'''


@pytest.fixture
def write(folder):
    """Writes a Modelfile beside the model's folder and gives its path."""

    def written(text, name="Modelfile"):
        path = folder.parent / name
        path.write_text(text)
        return path

    return written


def test_everything_that_it_says_is_in_the_bundle(folder, write):
    bundle = open_bundle(write(f"FROM ./{folder.name}{SAYS}"))
    generation, preset = bundle.generation, bundle.preset
    assert (generation.temperature, generation.top_k, generation.top_p) == (0.25, 7, 0.5)
    assert (generation.min_p, generation.repetition_penalty, generation.max_tokens) == (0.1, 1.2, None)
    assert (preset.seed, preset.presence_penalty, preset.frequency_penalty, preset.context) == (
        3,
        0.5,
        None,
        16,
    )
    assert preset.stop == ("<|end|>", "<|user|>")
    assert preset.system == "You are kind."
    assert preset.messages == (("user", "Hello"), ("assistant", "Hi\nthere"))
    assert preset.ollama_template.startswith("{{ range .Messages }}")
    assert "for item1 in go.messages" in bundle.chat_template
    assert (bundle.licence, preset.requires) == ("Apache License", "0.14.0")
    assert bundle.warnings == ("PARAMETER mirostat of the Modelfile is not used here.",)
    assert bundle.container == "huggingface"
    assert bundle.tensors.infos == open_bundle(folder).tensors.infos
    assert summarize(bundle).has_chat_template


def test_what_it_does_not_say_is_the_models_own(folder, write):
    (folder / "generation_config.json").write_text(json.dumps({"temperature": 0.9, "top_k": 5}))
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    bundle = open_bundle(write(f"FROM {folder}\nPARAMETER top_k 0\n"))
    assert (bundle.generation.temperature, bundle.generation.top_k) == (0.9, None)
    assert bundle.chat_template == "{{ messages }}"
    assert bundle.preset.system is None


def test_a_gguf_file_beside_it(make_gguf, tmp_path):
    path = make_gguf({"token_embd.weight": np.zeros((6, 32), np.float32)})
    (tmp_path / "Modelfile").write_text(f"FROM {path.name}\n")
    assert open_bundle(tmp_path / "Modelfile").container == "gguf"


def test_it_is_known_by_name_or_by_its_first_instruction(folder, write):
    text = f"# mine\n\n from {folder.name}\n"
    for name in ("Modelfile", "Modelfile.small", "story.modelfile", "recipe"):
        assert identify(write(text, name)).format == "modelfile"
    assert identify(write(text, "notes.txt")).format == "text"
    assert open_bundle(write(text, "story.modelfile")).name == "story"


def test_a_folder_that_holds_nothing_else_is_opened_by_it(folder, tmp_path):
    other = folder / "mine"
    other.mkdir()
    (other / "Modelfile").write_text("FROM ..\nSYSTEM x\n")
    bundle = open_bundle(other)
    assert (bundle.name, bundle.preset.system) == ("mine", "x")


def test_what_it_says_is_part_of_the_content(folder, write):
    plain = bundle_digest(open_bundle(folder)).value
    digests = {bundle_digest(open_bundle(write(f"FROM {folder}\nSYSTEM {each}\n"))).value for each in "aab"}
    assert len(digests) == 2
    assert plain not in digests


def test_an_adapter_has_to_be_merged_first(folder, write):
    path = write(f"FROM {folder}\nADAPTER ./{folder.name}/model.safetensors\n")
    assert open_bundle(path, complete=False).preset.adapters[0].name == "model.safetensors"
    with pytest.raises(UnsupportedError, match=r"puts the adapter model\.safetensors on"):
        open_bundle(path)


HOSTILE = {
    "name of a library": ("FROM llama3.2:1b\n", "no file or folder beside it"),
    "up and away": ("FROM ../../../../../../../../etc/passwd\n", "passwd is a text file, not a model"),
    "absolute": ("FROM /etc/passwd\n", "passwd is a text file, not a model"),
    "nowhere": ("FROM ./nothing.gguf\n", "there is nothing"),
    "device": ("FROM /dev/zero\n", "not a file"),
    "itself": ("FROM ./Modelfile\n", "names another Modelfile"),
    "null byte": ("FROM a\0b\n", "not a path|there is nothing"),
    "long path": (f"FROM ./{'a' * 100_000}\n", "not a path|there is nothing"),
    "nobody's home": ("FROM ~nobody-of-that-name/x\n", "not a path|there is nothing"),
    "adapter": ("FROM {folder}\nADAPTER ../../nothing\n", "ADAPTER of .* there is nothing"),
    "text as a number": ("FROM {folder}\nPARAMETER top_k many\n", "top_k of .* must be a whole number"),
    "not finite": ("FROM {folder}\nPARAMETER temperature nan\n", "must be a number"),
    "too large": ("FROM {folder}\nPARAMETER num_ctx 99999999999999999999\n", "must be a whole number"),
    "stops": ("FROM {folder}\n" + "".join(f"PARAMETER stop s{n}\n" for n in range(65)), "65 stop strings"),
    "broken template": ("FROM {folder}\nTEMPLATE {{ if }}\n", "template is broken"),
    "unknown function": ('FROM {folder}\nTEMPLATE {{ exec "ls" }}\n', "there is no function 'exec'"),
    "deep template": ("FROM {folder}\nTEMPLATE " + "{{ if true }}" * 500 + "\n", "nests more than"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_end_in_one_sentence(name, folder, write):
    text, reason = HOSTILE[name]
    path = write(text.replace("{folder}", str(folder)))
    with pytest.raises(FairwayError, match=reason) as caught:
        open_bundle(path)
    assert isinstance(caught.value, FormatError | ModelNotFound | UnsupportedError)
    assert "root:" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert "\n" not in str(caught.value)
