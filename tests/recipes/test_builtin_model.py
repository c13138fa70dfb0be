"""The model as a folder, its two passes with `fairway tune`, and how it is measured."""

import json

import numpy as np
import pytest
from builtin_fixtures import SENTENCES, tiny_recipe, write_texts
from recipes.builtin_model.export import export
from recipes.builtin_model.model_folder import read_weights, write_chat, write_weights
from recipes.builtin_model.prepare import num_tokens, prepare
from recipes.builtin_model.settings import RECIPE_FILE
from recipes.builtin_model.tokenizer import load_tokenizer

from fairway.cli.main import run
from fairway.formats.open import open_bundle
from fairway.text.loader import load_template
from fairway.text.loader import load_tokenizer as load_text
from fairway.tune.recipe import read_recipe

VOCABULARY = tiny_recipe().model.vocab_size
SMALL = ("--per-device-train-batch-size", "2", "--max-steps", "8", "--warmup-ratio", "0")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    prepare(write_texts(folder / "data"), folder / "work", tiny_recipe())
    return folder / "work"


def as_file(folder, name, **changed):
    """A recipe of the built-in model with other values, or None for those that it leaves out."""
    lines = RECIPE_FILE.with_name(name).read_text("utf-8").splitlines()
    kept = [line for line in lines if line.split(" =")[0] not in changed]
    kept += [f"{key} = {json.dumps(value)}" for key, value in changed.items() if value is not None]
    path = folder / name
    path.write_text("\n".join(kept), "utf-8")
    return str(path)


@pytest.mark.parametrize("name", ["pretrain.toml", "instruct.toml"])
def test_recipes_are_recipes(name):
    assert read_recipe(RECIPE_FILE.with_name(name), {}).optim == "muon"


def test_pretraining_goes_through_the_tokens_that_the_page_says():
    recipe = read_recipe(RECIPE_FILE.with_name("pretrain.toml"), {})
    per_step = recipe.per_device_train_batch_size * recipe.gradient_accumulation_steps * recipe.max_length
    assert per_step == 8192
    assert per_step * recipe.max_steps == pytest.approx(18.7e6, rel=0.01)
    assert recipe.num_decay_steps == round(0.6 * recipe.max_steps)


def test_both_passes_run_and_the_result_is_a_chat_model_in_bfloat16(work, tmp_path, capsys):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    pretrain = as_file(
        tmp_path, "pretrain.toml", max_length=64, length_stages=["16:0.5"], lr_scheduler_kwargs=None
    )
    text, held = str(work / "text.jsonl"), str(work / "held-out.jsonl")
    flags = (*SMALL, "--num-decay-steps", "4", "--decay-type", "linear", "--eval-steps", "4")
    out = str(tmp_path / "pretrain")
    command = [
        "tune",
        str(work / "scratch"),
        text,
        "--validation",
        held,
        "--recipe",
        pretrain,
        *flags,
        "--out",
        out,
    ]
    assert run(command) == 0
    lines = [json.loads(line) for line in (tmp_path / "pretrain/metrics.jsonl").read_text().splitlines()]
    assert lines[0]["loss"] == pytest.approx(np.log(VOCABULARY), abs=0.1)
    assert lines[-1]["loss"] < lines[0]["loss"] - 0.3

    write_chat(tmp_path / "pretrain/model", tmp_path / "chat")
    instruct = as_file(tmp_path, "instruct.toml", max_length=64)
    command = [
        "tune",
        str(tmp_path / "chat"),
        str(work / "conversations.jsonl"),
        "--recipe",
        instruct,
        *SMALL,
    ]
    assert run([*command, "--out", str(tmp_path / "instruct")]) == 0

    export(tmp_path / "instruct/model", tmp_path / "shipped", tmp_path / "rounded")
    assert sorted(path.name for path in (tmp_path / "shipped").iterdir()) == [
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json"]  # fmt: skip
    types = {info.type for info in open_bundle(tmp_path / "shipped").tensors.infos.values()}
    assert types == {"BF16"}
    config = json.loads((tmp_path / "shipped/config.json").read_text())
    tokenizer = load_tokenizer(work / "tokenizer.json")
    assert config["eos_token_id"] == [tokenizer.token_to_id("<|end|>"), tokenizer.token_to_id("</s>")]
    assert config["torch_dtype"] == "bfloat16"


def test_chat_markers_start_as_the_tokens_they_resemble(work, tmp_path):
    weights = read_weights(work / "scratch")
    name = "model.embed_tokens.weight"
    weights[name] = np.random.default_rng(0).normal(size=weights[name].shape).astype(np.float32)
    pretrained = tmp_path / "pretrained"
    pretrained.mkdir()
    for file in ("config.json", "tokenizer.json"):
        (pretrained / file).write_bytes((work / "scratch" / file).read_bytes())
    write_weights(pretrained, weights)
    write_chat(pretrained, tmp_path / "chat")
    rows, tokenizer = read_weights(tmp_path / "chat")[name], load_tokenizer(work / "tokenizer.json")
    assert np.array_equal(rows[tokenizer.token_to_id("<|end|>")], rows[tokenizer.token_to_id("</s>")])
    assert np.array_equal(rows[tokenizer.token_to_id("<|user|>")], rows[tokenizer.token_to_id("<s>")])


def test_tokens_are_counted_as_the_template_renders_them(work, tmp_path):
    write_chat(work / "scratch", tmp_path / "chat")
    bundle = open_bundle(tmp_path / "chat")
    tokenizer = load_text(bundle.tokenizer)
    messages = [{"role": "user", "content": " A story? "}, {"role": "assistant", "content": "The fox."}]
    template = load_template(bundle.chat_template, tokenizer)
    text = template.render(messages, add_generation_prompt=False)
    assert num_tokens(load_tokenizer(work / "tokenizer.json"), messages) == len(tokenizer.encode(text))


@pytest.mark.parametrize("num_ids", [2, 7, 8, 9, 25, 64])
def test_overlapping_windows_count_each_token_once(num_ids):
    pytest.importorskip("torch")
    from recipes.builtin_model.evaluate import overlapping_windows

    windows = list(overlapping_windows(list(range(num_ids)), length=8, stride=4))
    counted = [int(token) for each in windows for token in each.ids[each.learned]]
    assert counted == list(range(1, num_ids))
    assert all(len(each) <= 9 for each in windows)


def test_bits_per_byte_of_an_untrained_model_is_that_of_guessing(work):
    pytest.importorskip("torch")
    from recipes.builtin_model.evaluate import bits_per_byte, load_decoder

    tokenizer = load_tokenizer(work / "tokenizer.json")
    text = " ".join(SENTENCES)
    expected = len(tokenizer.encode(text, add_special_tokens=False).ids) * np.log2(VOCABULARY) / len(text)
    found = bits_per_byte(load_decoder(work / "scratch"), tokenizer, [text], 32, 16)
    assert found == pytest.approx(expected, rel=1e-4)
