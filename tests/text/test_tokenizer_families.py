"""One vocabulary in several containers: every road gives the same ids, bytes and roles."""

import pytest
from hypothesis import given
from text_cases import (
    TEXTS,
    WORD_PIECES,
    byte_pair_json,
    byte_pair_metadata,
    byte_pair_tables,
    load_files,
    load_metadata,
    spm_json,
    spm_metadata,
    spm_model_file,
    word_piece_metadata,
)

from fairway.errors import UnsupportedError
from fairway.text.tokenizer import Tokenizer


def agree(tokenizers: list[Tokenizer], text: str) -> None:
    first, *others = tokenizers
    ids = first.encode(text, add_special_tokens=False)
    for other in others:
        assert other.encode(text, add_special_tokens=False) == ids
        assert other.decode(ids) == first.decode(ids)
        assert [other.token_bytes(i) for i in ids] == [first.token_bytes(i) for i in ids]


@pytest.fixture(scope="module")
def byte_pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Tokenizer]:
    pieces, merges = byte_pair_tables()
    ids = {piece: token_id for token_id, piece in enumerate(pieces)}
    added = {piece: ids.pop(piece) for piece in ("<|begin|>", "<|im_end|>")}
    return [
        load_files(tmp_path_factory.mktemp("json"), tokenizer_json=byte_pair_json()),
        load_files(
            tmp_path_factory.mktemp("tables"),
            vocab_json=ids,
            merges_txt="#version: 0.2\n" + "\n".join(merges) + "\n",
            added_tokens_json=added,
            tokenizer_config_json={"tokenizer_class": "GPT2Tokenizer", "bos_token": "<|begin|>"}
            | {"eos_token": {"content": "<|im_end|>"}},
        ),
        load_metadata(**byte_pair_metadata()),
    ]


@pytest.fixture(scope="module")
def sentence_pieces(tmp_path_factory: pytest.TempPathFactory) -> list[Tokenizer]:
    return [
        load_metadata(**spm_metadata()),
        load_files(tmp_path_factory.mktemp("json"), tokenizer_json=spm_json()),
        load_files(tmp_path_factory.mktemp("model"), tokenizer_model=spm_model_file()),
    ]


@pytest.fixture(scope="module")
def word_pieces(tmp_path_factory: pytest.TempPathFactory) -> list[Tokenizer]:
    return [
        load_metadata(**word_piece_metadata()),
        load_files(tmp_path_factory.mktemp("txt"), vocab_txt="\n".join(WORD_PIECES) + "\n"),
    ]


@given(text=TEXTS)
def test_byte_level_bpe_from_json_tables_and_gguf(byte_pairs: list[Tokenizer], text: str) -> None:
    agree(byte_pairs, text)
    tokenizer = byte_pairs[0]
    assert tokenizer.decode(tokenizer.encode(text, parse_special=False)) == text


@given(text=TEXTS)
def test_sentencepiece_from_gguf_json_and_model_file(sentence_pieces: list[Tokenizer], text: str) -> None:
    agree(sentence_pieces, text)
    tokenizer = sentence_pieces[0]
    assert tokenizer.decode(tokenizer.encode(text, parse_special=False)) == text.replace("▁", " ")


@given(text=TEXTS)
def test_word_pieces_from_gguf_and_vocab_txt(word_pieces: list[Tokenizer], text: str) -> None:
    agree(word_pieces, text)


def test_roles_are_found_in_every_container(
    byte_pairs: list[Tokenizer], sentence_pieces: list[Tokenizer], word_pieces: list[Tokenizer]
) -> None:
    size = byte_pairs[0].vocab_size
    assert [t.eos_token_id for t in byte_pairs] == [None, size - 1, size - 1]
    assert {t.special_ids for t in byte_pairs} == {frozenset({size - 2, size - 1})}
    assert [t.bos_token_id for t in sentence_pieces] == [1, 1, 1]
    assert all(t.adds_bos and not t.adds_eos for t in sentence_pieces)
    assert all(
        (t.bos_token_id, t.eos_token_id, t.adds_bos, t.adds_eos) == (2, 3, True, True) for t in word_pieces
    )


def test_word_pieces_of_a_sentence(word_pieces: list[Tokenizer]) -> None:
    tokenizer = word_pieces[0]
    ids = tokenizer.encode("The winds, UNABLE! Äpfel xyzzy 日本")
    assert [tokenizer.token_id(p) for p in ("[CLS]", "the", "wind", "##s", ",")] == ids[:5]
    assert tokenizer.decode(ids) == "the winds, unable! apfel 日 本"
    assert tokenizer.decode(ids, skip_special_tokens=False).startswith("[CLS] the winds")


def test_a_cased_bert_vocabulary_keeps_capitals() -> None:
    fields = word_piece_metadata()
    fields["tokens"] = [*fields["tokens"], "▁The"]
    fields["token_type"] = [*fields["token_type"], 1]
    tokenizer = load_metadata(**fields)
    assert tokenizer.encode("The the", add_special_tokens=False) == [len(fields["tokens"]) - 1, 5]


def test_vocab_json_of_an_unknown_class_is_refused_by_name(tmp_path) -> None:
    with pytest.raises(UnsupportedError, match="WhisperTokenizer"):
        load_files(
            tmp_path,
            vocab_json={"a": 0},
            merges_txt="",
            tokenizer_config_json={"tokenizer_class": "WhisperTokenizer"},
        )


def test_a_unigram_model_file_is_refused_with_the_way_out(tmp_path) -> None:
    with pytest.raises(UnsupportedError, match=r"unigram.*save_pretrained"):
        load_files(tmp_path, tokenizer_model=spm_model_file(model_type=1))


def test_model_file_takes_added_tokens_and_roles_from_the_config(tmp_path) -> None:
    size = len(spm_metadata()["tokens"])
    config = {
        "added_tokens_decoder": {
            "2": {"content": "</s>", "special": True},
            str(size): {"content": "<|end|>", "special": True},
            str(size + 1): {"content": "@@", "special": False},
        },
        "eos_token": "<|end|>",
        "add_bos_token": False,
        "legacy": False,
    }
    tokenizer = load_files(tmp_path, tokenizer_model=spm_model_file(), tokenizer_config_json=config)
    assert (tokenizer.eos_token_id, tokenizer.adds_bos) == (size, False)
    ids = tokenizer.encode("the<|end|>the@@")
    assert ids.count(size) == ids.count(size + 1) == 1
    assert tokenizer.decode(ids) == "thethe@@"
