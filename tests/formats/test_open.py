"""`open_bundle`: what lies at a path, and everything a model needs beside its weights."""

import json

import numpy as np
import pytest
from format_models import CONFIG, TOKENIZER, numbers

from fairway.errors import FormatError, ModelNotFound, UnsupportedError
from fairway.formats.bundle import GenerationDefaults
from fairway.formats.open import open_bundle
from fairway.formats.safetensors_writer import tensor_data, write_safetensors


def write(folder, **files):
    for name, value in files.items():
        path = folder / name.replace("__", ".")
        path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")


def test_a_folder_is_a_model(folder):
    bundle = open_bundle(folder)
    assert (bundle.container, bundle.name, bundle.path) == ("huggingface", folder.name, folder)
    assert bundle.config == CONFIG
    assert bundle.tensors.read("model.norm.weight").type == "bf16"
    assert bundle.tokenizer.kind == "huggingface"
    assert bundle.tokenizer.files == {"tokenizer.json": folder / "tokenizer.json"}
    assert bundle.end_of_text_ids == (2, 5)
    assert bundle.chat_template is None
    assert bundle.generation == GenerationDefaults()
    assert bundle.warnings == ()


def test_a_file_of_the_folder_is_the_same_model(folder):
    bundle = open_bundle(folder / "model.safetensors")
    assert (bundle.container, bundle.name) == ("safetensors", "model")
    assert bundle.config == CONFIG
    assert bundle.end_of_text_ids == (2, 5)


def test_paths_may_be_text(folder):
    assert open_bundle(str(folder)).name == folder.name


def test_shards_are_found_by_their_index_and_the_index_may_be_named(folder):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    names = dict.fromkeys(
        ("model.embed_tokens.weight", "model.norm.weight"), "model-00001-of-00001.safetensors"
    )
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": names}))
    for path in (folder, index):
        assert len(open_bundle(path).tensors.infos) == 2


def test_one_odd_name_is_enough(folder):
    (folder / "model.safetensors").rename(folder / "weights.safetensors")
    assert len(open_bundle(folder).tensors.infos) == 2


def test_several_files_without_an_index_are_not_guessed_at(folder):
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    write_safetensors(folder / "b.safetensors", {"x": tensor_data(numbers(2))})
    with pytest.raises(FormatError, match=r"holds 2 safetensors files and no model.safetensors.index.json"):
        open_bundle(folder)


def test_a_folder_of_one_gguf_is_that_file(make_gguf, tmp_path):
    path = make_gguf({"output_norm.weight": numbers(32)})
    assert open_bundle(tmp_path).path == path
    make_gguf({}, name="other.gguf")
    with pytest.raises(FormatError, match=r"several models: model.gguf, other.gguf"):
        open_bundle(tmp_path)


@pytest.mark.parametrize("kind", ["adapter", "mmproj"])
def test_a_gguf_that_is_only_a_part_of_a_model_says_so(make_gguf, kind):
    bundle = open_bundle(make_gguf({"x": numbers(32)}, **{"general.type": kind}))
    assert bundle.warnings == (f"The file says that it is of type {kind!r}, not a model of its own.",)


def test_gguf_carries_everything(make_gguf):
    more = {"tokenizer.chat_template": "{{ x }}", "general.sampling.temp": 0.5, "general.sampling.top_k": 7}
    bundle = open_bundle(make_gguf({"output_norm.weight": numbers(32)}, **more))
    assert (bundle.container, bundle.name, bundle.licence) == ("gguf", "Small", "mit")
    assert bundle.chat_template == "{{ x }}"
    assert bundle.generation == GenerationDefaults(temperature=0.5, top_k=7)
    assert bundle.tokenizer.metadata["tokenizer.ggml.tokens"] == ["<unk>", "<s>", "</s>", "a"]
    assert all(key.startswith("tokenizer.") for key in bundle.tokenizer.metadata)
    assert bundle.end_of_text_ids == (2,)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_what_is_missing_is_named_with_the_remedy_but_can_be_listed(folder, name):
    (folder / name).unlink()
    with pytest.raises(
        FormatError, match=rf"has no {name}: .*\. Put the model's {name} into the same folder"
    ):
        open_bundle(folder)
    assert len(open_bundle(folder, complete=False).tensors.infos) == 2


def test_a_program_instead_of_weights_is_refused_without_running_it(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n.")
    with pytest.raises(UnsupportedError, match=r"would call os\.system.*Nothing of it was executed"):
        open_bundle(tmp_path)


def test_pickles_beside_the_weights_are_mentioned(folder):
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04N.")
    (folder / "training_args.bin").write_bytes(b"\x80\x04N.")
    assert open_bundle(folder).warnings == (
        "pytorch_model.bin beside the weights was not needed and not opened.",
    )


def test_an_adapter_says_that_it_is_one(tmp_path):
    write_safetensors(tmp_path / "adapter_model.safetensors", {"x": tensor_data(numbers(2))})
    write(tmp_path, adapter_config__json={"base_model_name_or_path": "some/model"})
    with pytest.raises(UnsupportedError, match="is an adapter for another model"):
        open_bundle(tmp_path)


def test_nothing_there_and_nothing_in_it(tmp_path):
    with pytest.raises(ModelNotFound, match="There is nothing at"):
        open_bundle(tmp_path / "absent")
    with pytest.raises(ModelNotFound, match=r"nothing at|is not a path"):
        open_bundle("a\0b")
    with pytest.raises(FormatError, match="holds no weights"):
        open_bundle(tmp_path)


END_OF_TEXT = {
    "config": ({"config__json": CONFIG | {"eos_token_id": 7}}, 7),
    "config, as a list": ({"config__json": CONFIG | {"eos_token_id": [7, 8]}}, 8),
    "the text part of a config": ({"config__json": CONFIG | {"text_config": {"eos_token_id": 7}}}, 7),
    "generation_config": ({"generation_config__json": {"eos_token_id": [7]}}, 7),
    "tokenizer_config": ({"tokenizer_config__json": {"eos_token": "<s>"}}, 0),
    "tokenizer_config, as an object": ({"tokenizer_config__json": {"eos_token": {"content": "<s>"}}}, 0),
    "special_tokens_map": ({"special_tokens_map__json": {"eos_token": "<s>"}}, 0),
    "a well-known token": ({}, 5),
}


@pytest.mark.parametrize("place", END_OF_TEXT)
def test_end_of_text_is_gathered_from(folder, place):
    files, token_id = END_OF_TEXT[place]
    write(folder, **files)
    assert token_id in open_bundle(folder).end_of_text_ids


def test_a_well_known_token_that_is_ordinary_text_ends_nothing(folder):
    tokens = [
        {"id": 5, "content": "<|im_end|>", "special": False},
        {"id": 2, "content": "</s>", "special": True},
    ]
    write(folder, tokenizer__json=TOKENIZER | {"added_tokens": tokens})
    assert open_bundle(folder).end_of_text_ids == (2,)


def test_the_end_of_a_channel_is_not_the_end_of_the_answer(folder):
    tokens = [
        {"id": i, "content": text, "special": True} for i, text in enumerate(["<|end|>", "<|return|>"], 10)
    ]
    write(folder, tokenizer__json=TOKENIZER | {"added_tokens": tokens})
    assert open_bundle(folder).end_of_text_ids == (2, 11)


def test_added_tokens_decoder_wins_over_tokenizer_json(folder):
    decoder = {"40": {"content": "<|eot_id|>", "special": True}}
    write(folder, tokenizer_config__json={"added_tokens_decoder": decoder})
    assert open_bundle(folder).end_of_text_ids == (2, 40)


def test_old_tokenizers_name_their_tokens_in_vocab_json(folder):
    (folder / "tokenizer.json").unlink()
    write(
        folder, vocab__json={"<|endoftext|>": 9}, merges__txt="", config__json=CONFIG | {"eos_token_id": None}
    )
    write(folder, special_tokens_map__json={"eos_token": "<|endoftext|>"})
    assert open_bundle(folder).end_of_text_ids == (9,)


def test_gguf_end_of_turn_tokens_count_even_if_user_defined(make_gguf):
    tokens = ["<s>", "</s>", "<|im_end|>", "<end_of_turn>", "<|eot_id|>", "x"]
    more = {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": [3, 4, 3, 4, 1, 1]}
    more |= {"tokenizer.ggml.eos_token_id": 0, "tokenizer.ggml.eot_token_id": 5}
    bundle = open_bundle(make_gguf({"output_norm.weight": numbers(32)}, **more))
    assert bundle.end_of_text_ids == (0, 2, 3, 5)


TEMPLATES = {
    "a file": {"chat_template__jinja": "T", "tokenizer_config__json": {"chat_template": "other"}},
    "a text": {"tokenizer_config__json": {"chat_template": "T"}},
    "the default of a list": {
        "tokenizer_config__json": {
            "chat_template": [{"name": "tool_use", "template": "U"}, {"name": "default", "template": "T"}]
        }
    },
    "the first of a list": {"tokenizer_config__json": {"chat_template": [{"name": "rag", "template": "T"}]}},
    "chat_template.json": {"chat_template__json": {"chat_template": "T"}},
}


@pytest.mark.parametrize("place", TEMPLATES)
def test_chat_template_comes_from(folder, place):
    write(folder, **TEMPLATES[place])
    assert open_bundle(folder).chat_template == "T"


LICENCES = {
    "apache-2.0": {
        "README__md": "---\nlanguage: en\nlicense: apache-2.0 # good\n---\n# Title\n",
        "LICENSE": "MIT",
    },
    "gemma": {"README__md": "---\r\nlicense: 'gemma'\r\n---\r\n"},
    "llama3.1": {"README__md": "---\nlicense: other\nlicense_name: llama3.1\n---\n"},
    "MIT License": {"LICENSE": "\n  MIT License\n\nCopyright"},
    None: {"README__md": "# Title\nlicense: mit\n"},
}


@pytest.mark.parametrize("licence", LICENCES)
def test_licence_is_found(folder, licence):
    write(folder, **LICENCES[licence])
    assert open_bundle(folder).licence == licence


def test_generation_defaults(folder):
    stated = {
        "temperature": 0.7,
        "top_k": 20,
        "top_p": 0.8,
        "min_p": 0,
        "repetition_penalty": 1.05,
        "max_new_tokens": 512,
    }
    write(folder, generation_config__json=stated)
    assert open_bundle(folder).generation == GenerationDefaults(0.7, 20, 0.8, 0.0, 1.05, 512)
    write(folder, generation_config__json={"do_sample": False, "temperature": 0.7, "top_k": "many"})
    assert open_bundle(folder).generation == GenerationDefaults(temperature=0.0)


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer_config.json"])
def test_a_broken_sidecar_is_one_sentence(folder, name):
    (folder / name).write_text("{broken")
    with pytest.raises(FormatError, match=rf"{name} is not valid JSON"):
        open_bundle(folder)


def test_a_huge_sidecar_is_not_read(folder):
    with (folder / "config.json").open("wb") as file:
        file.truncate(1 << 32)
    with pytest.raises(FormatError, match=r"config.json has 4294967296 bytes, at most \d+ are read"):
        open_bundle(folder)


def test_values_survive_from_writer_to_bundle(folder):
    expected = np.arange(192, dtype=np.float32).reshape(6, 32)
    np.testing.assert_array_equal(
        open_bundle(folder).tensors.read("model.embed_tokens.weight").values, expected
    )
