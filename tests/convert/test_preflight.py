"""What cannot become a good model is refused before a byte is written, with the way out."""

import json
import shutil
from collections import namedtuple

import pytest
from model_folders import converted, make_folder

from fairway.convert import preflight
from fairway.convert.hops import prepare, source_name
from fairway.convert.settings import ConvertSettings
from fairway.errors import DoesNotFit, FairwayError, FormatError, UnsupportedError, UsageError
from fairway.formats.open import open_bundle


def refused(source, tmp_path, expected, **settings):
    """The error; and nothing was written anywhere."""
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(expected) as caught:
        converted(
            source, settings.pop("to", "safetensors"), settings.pop("out", tmp_path / "out"), **settings
        )
    assert sorted(tmp_path.rglob("*")) == before
    assert caught.value.hint
    return str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_missing_part_is_named_with_the_fix(model, tmp_path, name):
    (model / name).unlink()
    message = refused(model, tmp_path, FormatError)
    assert f"has no {name}" in message
    assert "--weights-only" in message
    converted(model, "safetensors", tmp_path / "out", weights_only=True)


def test_a_model_that_would_never_stop(model, tmp_path):
    config = json.loads((model / "config.json").read_text())
    del config["eos_token_id"]
    (model / "config.json").write_text(json.dumps(config))
    for name in ("generation_config.json", "tokenizer_config.json"):
        (model / name).write_text("{}")
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    tokenizer["added_tokens"] = []
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert "has no end-of-text id" in refused(model, tmp_path, FormatError)


def test_a_quantised_source_is_not_rounded_again_but_may_be_copied(model, tmp_path):
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "awq"}}))
    assert "already quantised with awq" in refused(model, tmp_path, UnsupportedError, type="F16")
    converted(model, "safetensors", tmp_path / "out")


def test_disk_space_names_needed_and_free(model, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda path: usage(10**9, 0, 1_234_567))
    message = refused(model, tmp_path, DoesNotFit)
    assert "1.23 MB free" in message
    assert "needs" in message


def test_what_exists_is_replaced_only_when_told(model, tmp_path):
    (tmp_path / "out").mkdir()
    assert "exists already" in refused(model, tmp_path, UsageError)
    converted(model, "safetensors", tmp_path / "out", force=True)


@pytest.mark.parametrize("out", ["model", "model/inside", "."])
def test_the_source_is_never_the_target(model, tmp_path, out):
    (model / "inside").mkdir()
    target = tmp_path / out
    refused(model, tmp_path, UsageError, out=target, force=True)


def test_no_folder_to_write_into(model, tmp_path):
    assert "There is no folder" in refused(model, tmp_path, UsageError, out=tmp_path / "no" / "where")


def test_a_hop_that_does_not_exist(model, tmp_path):
    message = refused(model, tmp_path, UnsupportedError, to="nemo")
    assert "There is no way from huggingface to nemo" in message
    assert "safetensors" in message


def test_a_vocabulary_is_no_model(tmp_path, model):
    from fairway.formats.gguf_writer import write_gguf

    write_gguf(tmp_path / "vocabulary.gguf", {"general.architecture": "llama"}, {})
    assert "holds no weights" in refused(tmp_path / "vocabulary.gguf", tmp_path, FairwayError)


def test_prepare_writes_nothing(model, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    conversion = prepare(open_bundle(model), ConvertSettings(to="safetensors", type="BF16"))
    assert conversion.target.name == "model-BF16"
    assert conversion.num_bytes > 0
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("small/model.safetensors", "small"),
        ("small/model.safetensors.index.json", "small"),
        ("small", "small"),
        ("tiny-Q4_K_M.safetensors", "tiny"),
        ("tiny.fp16.safetensors", "tiny"),
        ("tiny-v2.safetensors", "tiny-v2"),
    ],
)
def test_names_come_from_what_people_call_it(tmp_path, path, name):
    class Named:
        pass

    bundle = Named()
    bundle.path = tmp_path / path
    if "." not in path:
        bundle.path.mkdir()
    assert source_name(bundle) == name


def test_a_truncated_source_is_one_sentence(model, tmp_path):
    raw = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(raw[:-100])
    with pytest.raises(FormatError, match=r"outside the file"):
        converted(model, "safetensors", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_shard_that_is_missing_is_named(tmp_path):
    source = make_folder(tmp_path / "model")
    converted(source, "safetensors", tmp_path / "sharded", max_shard_bytes=60_000)
    next((tmp_path / "sharded").glob("model-00002*")).unlink()
    with pytest.raises(FormatError, match="which is missing"):
        converted(tmp_path / "sharded", "safetensors", tmp_path / "out")
    shutil.rmtree(tmp_path / "sharded")
