"""Which files of a repository are fetched: a table of listings."""

import pytest

from fairway.errors import ModelNotFound, UnsupportedError
from fairway.registry.hub_files import HubFile, choose, num_parts
from fairway.registry.model_id import HubId, parse_hub_id

FOLDER = ["config.json", "tokenizer.json", "model.safetensors"]
QUANTS = ["m-Q4_K_M.gguf", "m-Q8_0.gguf", "m-Q4_0.gguf"]
SPLIT = ["m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf"]


def chosen(model: str, names: list[str]) -> tuple[set[str], str | None]:
    hub_id = parse_hub_id(model)
    assert hub_id is not None
    choice = choose(hub_id, [HubFile(name) for name in names])
    return {file.name for file in choice.files}, choice.model_file


@pytest.mark.parametrize(
    ("model", "names", "files", "model_file"),
    [
        ("o/m", [*FOLDER, "a.bin", "x.md"], set(FOLDER), None),
        ("o/m", [*FOLDER, "onnx/model.safetensors"], set(FOLDER), None),
        ("o/m", ["config.json", "weights.safetensors"], {"config.json", "weights.safetensors"}, None),
        ("o/m", [*FOLDER, *QUANTS], set(FOLDER), None),
        ("o/m", QUANTS, {"m-Q4_K_M.gguf"}, "m-Q4_K_M.gguf"),
        ("o/m", ["one.gguf", "mmproj-f16.gguf"], {"one.gguf"}, "one.gguf"),
        ("o/m", SPLIT, set(SPLIT), SPLIT[0]),
        ("o/m:Q8_0", [*QUANTS, "x-IQ8_0.gguf"], {"m-Q8_0.gguf"}, "m-Q8_0.gguf"),
        ("o/m:q4_0", QUANTS, {"m-Q4_0.gguf"}, "m-Q4_0.gguf"),
        ("o/m:Q8_0", SPLIT, set(SPLIT), SPLIT[0]),
        ("o/m:sub/m-Q8_0.gguf", ["sub/m-Q8_0.gguf", "m-Q8_0.gguf"], {"sub/m-Q8_0.gguf"}, "sub/m-Q8_0.gguf"),
        (
            "o/m:other.safetensors",
            [*FOLDER, "other.safetensors"],
            {"config.json", "tokenizer.json", "other.safetensors"},
            "other.safetensors",
        ),
    ],
)
def test_choice(model, names, files, model_file):
    assert chosen(model, names) == (files, model_file)


@pytest.mark.parametrize(
    ("model", "names", "error", "message"),
    [
        ("o/m:Q9", QUANTS, ModelNotFound, r"no file matches Q9\. Name one: o/m:m-Q4_0\.gguf, o/m:m-Q4_K_M"),
        ("o/m:Q8_0", ["a-Q8_0.gguf", "b-Q8_0.gguf"], ModelNotFound, r"several files match Q8_0.*o/m:a-Q8_0"),
        ("o/m:Q8_0", FOLDER, ModelNotFound, r"It has no GGUF files; leave out"),
        ("o/m", ["a-IQ1.gguf", "b-IQ2.gguf"], ModelNotFound, r"o/m has 2 GGUF files\. Name one: "),
        (
            "o/m",
            ["config.json", "pytorch_model.bin"],
            UnsupportedError,
            r"only as pickles \(pytorch_model.bin\)",
        ),
        ("o/m", ["README.md"], ModelNotFound, r"neither safetensors with a config.json nor a GGUF"),
    ],
)
def test_refusal(model, names, error, message):
    with pytest.raises(error, match=message):
        chosen(model, names)


@pytest.mark.parametrize(
    ("text", "hub_id"),
    [
        ("org/name", HubId("org/name")),
        ("org/na.me-1:Q4_K_M", HubId("org/na.me-1", "Q4_K_M")),
        ("https://huggingface.co/org/name", HubId("org/name")),
        ("hf.co/org/name:file.gguf", HubId("org/name", "file.gguf")),
        ("org/name:sub/file.gguf", HubId("org/name", "sub/file.gguf")),
        ("name", None),
        ("a/b/c", None),
        ("../x", None),
        ("models/x.gguf", None),
        ("C:\\models", None),
        ("org/na me", None),
    ],
)
def test_what_a_hub_id_is(text, hub_id):
    assert parse_hub_id(text) == hub_id


def test_parts_of_a_split_file():
    assert num_parts(SPLIT[0]) == 2
    assert num_parts("model.gguf") == 1
