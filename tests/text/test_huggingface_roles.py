"""Where Hugging Face folders say what begins and ends a text, and which of the places counts."""

from pathlib import Path

import pytest
from text_cases import byte_pair_json, load_files

from fairway.errors import UnsupportedError

LEVEL = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
CONFIG = {"bos_token": "<|begin|>", "eos_token": {"content": "<|im_end|>"}}


def template(*single: str) -> dict:
    """A post-processor that puts these around the text, written "A"."""
    pieces = [
        {"Sequence": {"id": "A", "type_id": 0}}
        if name == "A"
        else {"SpecialToken": {"id": name, "type_id": 0}}
        for name in single
    ]
    names = {name for name in single if name != "A"}
    tokens = {name: {"id": name, "ids": [256], "tokens": [name]} for name in names}
    return {"type": "TemplateProcessing", "single": pieces, "pair": pieces, "special_tokens": tokens}


def around(tmp_path: Path, processor: dict | None, config: dict) -> tuple[list[str], list[str]]:
    whole = byte_pair_json() | {"post_processor": processor}
    tokenizer = load_files(tmp_path, tokenizer_json=whole, tokenizer_config_json=CONFIG | config)
    words = [tokenizer.token_text(token_id) for token_id in tokenizer.encode("a")]
    assert tokenizer.adds_bos == (words[0] == "<|begin|>")
    assert tokenizer.adds_eos == (words[-1] == "<|im_end|>")
    at = words.index("a")
    return words[:at], words[at + 1 :]


@pytest.mark.parametrize(
    ("processor", "config", "expected"),
    [
        (None, {}, ([], [])),
        (LEVEL, {}, ([], [])),
        (LEVEL, {"add_bos_token": True}, (["<|begin|>"], [])),
        (None, {"add_bos_token": True, "add_eos_token": True}, (["<|begin|>"], ["<|im_end|>"])),
        (template("<|begin|>", "A"), {}, (["<|begin|>"], [])),
        (template("<|begin|>", "A"), {"add_bos_token": False}, (["<|begin|>"], [])),
        (template("<|begin|>", "A", "<|im_end|>"), {}, (["<|begin|>"], ["<|im_end|>"])),
        ({"type": "Sequence", "processors": [LEVEL, template("<|begin|>", "A")]}, {}, (["<|begin|>"], [])),
        (
            {"type": "RobertaProcessing", "sep": ["<|im_end|>", 1], "cls": ["<|begin|>", 0]}
            | {"trim_offsets": True, "add_prefix_space": False},
            {},
            (["<|begin|>"], ["<|im_end|>"]),
        ),
        (
            {"type": "BertProcessing", "sep": ["<|im_end|>", 1], "cls": ["<|begin|>", 0]},
            {},
            (["<|begin|>"], ["<|im_end|>"]),
        ),
    ],
)
def test_what_goes_around_a_text(
    tmp_path: Path, processor: dict | None, config: dict, expected: tuple
) -> None:
    assert around(tmp_path, processor, config) == expected


def test_truncation_and_padding_of_the_file_are_switched_off(tmp_path: Path) -> None:
    padding = {"strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": None}
    whole = byte_pair_json() | {
        "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
        "padding": padding | {"pad_id": 0, "pad_type_id": 0, "pad_token": "!"},
    }
    tokenizer = load_files(tmp_path, tokenizer_json=whole)
    text = "the weather " * 20
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_tokens_that_only_the_config_declares_are_added(tmp_path: Path) -> None:
    whole = byte_pair_json()
    size = len(whole["model"]["vocab"]) + 2
    declared = {
        str(size): {"content": "<tool>", "special": False},
        str(size + 1): {"content": "<|x|>", "special": True},
    }
    tokenizer = load_files(
        tmp_path, tokenizer_json=whole, tokenizer_config_json={"added_tokens_decoder": declared}
    )
    assert tokenizer.vocab_size == size + 2
    assert tokenizer.encode("<tool><|x|>") == [size, size + 1]
    assert tokenizer.decode([size, size + 1]) == "<tool>"


def test_a_piece_that_the_config_names_as_a_role_becomes_a_control_token(tmp_path: Path) -> None:
    tokenizer = load_files(
        tmp_path, tokenizer_json=byte_pair_json(), tokenizer_config_json={"eos_token": "!"}
    )
    assert tokenizer.eos_token_id in tokenizer.special_ids
    assert tokenizer.decode(tokenizer.encode("a!")) == "a"


def test_a_post_processor_nobody_knows_is_refused() -> None:
    from fairway.text.huggingface_tokenizer import _around

    with pytest.raises(UnsupportedError, match="Surprise"):
        _around({"type": "Surprise"})
