"""Broken and hostile tokenizer files end in one error of ours, naming what is wrong."""

import copy
import json
import random
from contextlib import suppress
from pathlib import Path

import pytest
from text_cases import (
    byte_pair_json,
    byte_pair_metadata,
    load_files,
    load_metadata,
    source,
    spm_json,
    spm_metadata,
    spm_model_file,
    word_piece_metadata,
)

from fairway.errors import FairwayError, FormatError, UnsupportedError
from fairway.text.loader import load_tokenizer

METADATA = {"bpe": byte_pair_metadata, "spm": spm_metadata, "bert": word_piece_metadata}
JUNK = [
    None,
    -1,
    0,
    1 << 40,
    1.5,
    "",
    "x",
    [],
    {},
    True,
    [[]],
    {"type": "BPE"},
    "▁" * 5,
    [1, 2],
    1e300,
    "\ud800",
]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "7", '"x"', "{}", "\ud800", "[" * 100_000, '{"model": {"type": "BPE"}}']
)
def test_a_tokenizer_json_that_is_none(tmp_path: Path, text: str) -> None:
    with pytest.raises(FormatError, match=r"tokenizer\.json"):
        load_files(tmp_path, tokenizer_json=text.encode("utf-8", "surrogatepass"))


def parts(value: object, path: tuple = ()) -> list[tuple]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items)[:12]:
        found += parts(item, (*path, key))
    return found


@pytest.mark.parametrize("make", [byte_pair_json, spm_json])
def test_hundreds_of_broken_tokenizer_jsons_give_one_error_each(tmp_path: Path, make, capfd) -> None:
    """Or still work: the change may have been harmless. No panic message either."""
    rng = random.Random(7)
    whole = make()
    places = parts(whole)
    for _ in range(500):
        broken = copy.deepcopy(whole)
        *way, last = rng.choice(places)
        inner = broken
        for key in way:
            inner = inner[key]
        inner[last] = rng.choice(JUNK)
        text = json.dumps(broken)
        if rng.random() < 0.1:
            text = text[: rng.randrange(len(text))]
        with suppress(FairwayError):
            tokenizer = load_files(tmp_path, tokenizer_json=text)
            tokenizer.decode(tokenizer.encode("Hello wörld 😀 <s>"))
            tokenizer.encode(" a ", parse_special=False)
    assert "panicked" not in capfd.readouterr().err


@pytest.mark.parametrize("key", ["token_type", "scores"])
@pytest.mark.parametrize("change", [lambda v: v[:-1], lambda v: [*v, v[-1]], lambda v: []])
def test_lists_of_different_lengths(key: str, change) -> None:
    fields = spm_metadata()
    with pytest.raises(FormatError, match=rf"{key} has \d+ values for"):
        load_metadata(**fields | {key: change(fields[key])})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "has no tokenizer"),
        ({"model": "llama"}, "missing or empty"),
        ({"model": "llama", "tokens": []}, "missing or empty"),
        ({"model": "llama", "tokens": "abc"}, "wrong type"),
        ({"model": "llama", "tokens": 7}, "must be a list"),
        ({"model": "llama", "tokens": [1, 2]}, "wrong type"),
        ({"model": 3, "tokens": ["a"]}, "must be a string"),
        ({"model": "llama", "tokens": ["a", "a"]}, "twice"),
        ({"model": "gpt2", "tokens": ["a", "a"], "merges": []}, "twice"),
        ({"model": "gpt2", "tokens": ["a"]}, "no merges"),
        ({"model": "gpt2", "tokens": ["a"], "merges": ["a b"]}, "Merge 0 .* 'b'"),
        ({"model": "gpt2", "tokens": ["a"], "merges": ["ab"]}, "not two pieces"),
        ({"model": "gpt2", "tokens": ["a"], "merges": [7]}, "wrong type"),
        ({"model": "bert", "tokens": ["a"]}, "unknown words"),
        ({"model": "llama", "tokens": ["a"], "scores": [float("nan")]}, "not a number"),
        ({"model": "llama", "tokens": ["a"], "add_bos_token": "yes"}, "true or false"),
    ],
)
def test_impossible_gguf_metadata(fields: dict, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        load_metadata(**fields)


@pytest.mark.parametrize("model", ["t5", "rwkv", "gemma4", "plamo2", "no such thing"])
def test_an_unknown_vocabulary_is_named(model: str) -> None:
    with pytest.raises(UnsupportedError, match=model):
        load_metadata(model=model, tokens=["a"])


def test_an_unknown_pre_tokenizer_is_named_and_never_guessed() -> None:
    with pytest.raises(UnsupportedError, match="viking"):
        load_metadata(**byte_pair_metadata() | {"pre": "viking"})


@pytest.mark.parametrize("kind", METADATA)
def test_ids_outside_the_vocabulary_count_as_absent(kind: str) -> None:
    ids = ["bos_token_id", "eos_token_id", "cls_token_id", "seperator_token_id"]
    tokenizer = load_metadata(**METADATA[kind]() | dict.fromkeys(ids, 1 << 31))
    assert tokenizer.bos_token_id is None or tokenizer.bos_token_id < tokenizer.vocab_size
    tokenizer.encode("the wind")


@pytest.mark.parametrize("kind", METADATA)
def test_random_metadata_gives_one_error_or_works(kind: str) -> None:
    rng = random.Random(11)
    whole = METADATA[kind]()
    for _ in range(150):
        fields = copy.deepcopy(whole)
        key = rng.choice(list(fields))
        if isinstance(fields[key], list) and rng.random() < 0.7:
            fields[key][rng.randrange(len(fields[key]))] = rng.choice(JUNK)
        else:
            fields[key] = rng.choice(JUNK)
        with suppress(FairwayError):
            tokenizer = load_metadata(**fields)
            tokenizer.decode(tokenizer.encode("Hello wörld 😀 <s>"))


def test_empty_pieces_become_unmatchable_ones() -> None:
    fields = byte_pair_metadata()
    fields["tokens"][40] = ""
    fields["merges"] = []
    assert load_metadata(**fields).token_id("[EMPTY_40]") == 40


def test_a_cut_or_scrambled_model_file_gives_one_error_or_works(tmp_path: Path) -> None:
    rng = random.Random(3)
    whole = spm_model_file()
    for _ in range(300):
        raw = bytearray(whole[: rng.randrange(len(whole))] if rng.random() < 0.3 else whole)
        for _ in range(rng.randrange(1, 4)):
            if raw:
                raw[rng.randrange(len(raw))] = rng.randrange(256)
        with suppress(FairwayError):
            load_files(tmp_path, tokenizer_model=bytes(raw)).encode("the wind 😀")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"vocab_json": "[]", "merges_txt": ""}, "must hold a JSON object"),
        ({"vocab_json": '{"a": "b"}', "merges_txt": ""}, "map each piece to its id"),
        ({"vocab_json": '{"a": 0, "b": 0}', "merges_txt": ""}, "one id to several"),
        ({"vocab_json": '{"a": 0}', "merges_txt": "a a\n"}, "Merge 0"),
        ({"vocab_json": b"\xff", "merges_txt": ""}, "not UTF-8"),
        ({"vocab_txt": "a\nb\n"}, r"\[UNK\]"),
        ({"vocab_txt": b"\xff\xfe"}, "not UTF-8"),
        ({"tokenizer_config_json": "[1]", "vocab_txt": "[UNK]\n"}, "must hold a JSON object"),
        (
            {
                "tokenizer_config_json": {"added_tokens_decoder": {"x": {"content": "y"}}},
                "vocab_txt": "[UNK]",
            },
            "added tokens",
        ),
        (
            {"tokenizer_config_json": {"added_tokens_decoder": {"9": {}}}, "vocab_txt": "[UNK]"},
            "added tokens",
        ),
        (
            {
                "tokenizer_config_json": {"added_tokens_decoder": {"9": {"content": "y"}}},
                "vocab_txt": "[UNK]",
            },
            "not 9",
        ),
    ],
)
def test_broken_tables(tmp_path: Path, files: dict, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        load_files(tmp_path, **files)


def test_a_folder_without_a_tokenizer_says_what_it_has() -> None:
    with pytest.raises(UnsupportedError, match=r"no tokenizer files.*save_pretrained"):
        load_tokenizer(source("huggingface"))


def test_a_file_that_vanished_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be read"):
        load_tokenizer(source("huggingface", {"tokenizer.json": tmp_path / "tokenizer.json"}))


def test_a_decoder_nobody_knows_is_refused(tmp_path: Path) -> None:
    broken = byte_pair_json() | {
        "decoder": {"type": "CTC", "pad_token": "a", "word_delimiter_token": "b", "cleanup": True}
    }
    with pytest.raises(UnsupportedError, match="CTC"):
        load_files(tmp_path, tokenizer_json=broken)
