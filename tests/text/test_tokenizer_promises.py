"""What every tokenizer promises, whatever its family: specials, bytes, hostile text."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from text_cases import KINDS, TEXTS, byte_pair_metadata, load_metadata, spm_metadata

from fairway.errors import RequestError, UnsupportedError
from fairway.text.byte_tokenizer import ByteTokenizer
from fairway.text.loader import load_tokenizer
from fairway.text.tokenizer import Tokenizer

EVERY = {"bytes": ByteTokenizer} | KINDS


@pytest.fixture(scope="module", params=EVERY)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return EVERY[request.param]()


def spelled(tokenizer: Tokenizer, token_id: int | None) -> str:
    assert token_id is not None
    return tokenizer.token_text(token_id)


def test_the_beginning_is_added_once(tokenizer: Tokenizer) -> None:
    bos = tokenizer.bos_token_id
    ids = tokenizer.encode("the wind")
    assert (ids[0] == bos) is tokenizer.adds_bos
    again = tokenizer.encode(spelled(tokenizer, bos) + "the wind")
    assert again.count(bos) == 1
    assert again[0] == bos


def test_adds_bos_and_adds_eos_say_what_encode_does(tokenizer: Tokenizer) -> None:
    bare, full = tokenizer.encode("wind", add_special_tokens=False), tokenizer.encode("wind")
    before = [tokenizer.bos_token_id] if tokenizer.adds_bos else []
    after = [tokenizer.eos_token_id] if tokenizer.adds_eos else []
    assert full == [*before, *bare, *after]
    assert tokenizer.encode("") == [*before, *after]
    assert tokenizer.encode("", add_special_tokens=False) == []


def test_control_tokens_are_ids_only_where_they_may_be(tokenizer: Tokenizer) -> None:
    text = "a" + spelled(tokenizer, tokenizer.eos_token_id) + "a"
    parsed = tokenizer.encode(text, add_special_tokens=False)
    plain = tokenizer.encode(text, add_special_tokens=False, parse_special=False)
    assert tokenizer.eos_token_id in parsed
    assert tokenizer.eos_token_id not in plain
    assert tokenizer.encode(text, add_special_tokens=False) == parsed, "the switch must not stick"


def test_control_tokens_add_no_bytes_but_have_a_spelling(tokenizer: Tokenizer) -> None:
    assert {tokenizer.bos_token_id, tokenizer.eos_token_id} <= tokenizer.special_ids
    for token_id in tokenizer.special_ids:
        assert tokenizer.token_bytes(token_id) == b""
        assert tokenizer.token_id(tokenizer.token_text(token_id)) == token_id
    eos = tokenizer.eos_token_id
    assert tokenizer.decode([eos]) == ""
    assert tokenizer.decode([eos], skip_special_tokens=False) == spelled(tokenizer, eos)


@given(ids=st.lists(st.integers(0, 10**6), max_size=30))
def test_text_is_the_tokens_bytes_joined(tokenizer: Tokenizer, ids: list[int]) -> None:
    ids = [number % tokenizer.vocab_size for number in ids]
    raw = b"".join(map(tokenizer.token_bytes, ids))
    if tokenizer.strips_leading_space:
        raw = raw.removeprefix(b" ")
    assert tokenizer.decode(ids) == raw.decode("utf-8", "replace")


@given(text=TEXTS)
def test_every_text_has_ids_within_the_vocabulary(tokenizer: Tokenizer, text: str) -> None:
    for parse_special in (True, False):
        ids = tokenizer.encode(text, parse_special=parse_special)
        assert all(0 <= token_id < tokenizer.vocab_size for token_id in ids)
        tokenizer.decode(ids)


def test_every_token_has_a_readable_form(tokenizer: Tokenizer) -> None:
    for token_id in range(tokenizer.vocab_size):
        tokenizer.token_text(token_id).encode("utf-8")


def test_stray_bytes_are_readable() -> None:
    assert ByteTokenizer().token_text(0xE4) == "\\xe4"
    assert ByteTokenizer().token_text(0x41) == "A"


@pytest.mark.parametrize("token_id", [-1, 10**6, 10**30, 1.5, "7", None])
def test_an_impossible_id_is_one_clear_sentence(tokenizer: Tokenizer, token_id: object) -> None:
    for call in (tokenizer.token_bytes, tokenizer.token_text, lambda each: tokenizer.decode([each])):
        with pytest.raises(RequestError, match=r"outside the vocabulary|must be an integer"):
            call(token_id)  # type: ignore[operator]


@pytest.mark.parametrize("text", ["\ud83d", "ok \udc00", "\udfff\ud800"])
def test_half_an_emoji_is_refused_and_located(tokenizer: Tokenizer, text: str) -> None:
    with pytest.raises(RequestError, match="lone surrogate"):
        tokenizer.encode(text)


@pytest.mark.parametrize("text", [b"bytes", None, 7])
def test_text_must_be_text(tokenizer: Tokenizer, text: object) -> None:
    with pytest.raises(RequestError, match="must be a string"):
        tokenizer.encode(text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", [" " * 1_000_000, "\x00" * 100_000, "a" * 300_000, "the wind " * 30_000, "<" * 300_000]
)
def test_monotonous_megabytes_take_seconds_at_most(tokenizer: Tokenizer, text: str) -> None:
    begun = time.thread_time()
    ids = tokenizer.encode(text)
    assert time.thread_time() - begun < 10
    assert len(ids) <= len(text) + 2


def test_numpy_ids_are_ids(tokenizer: Tokenizer) -> None:
    numpy = pytest.importorskip("numpy")
    ids = tokenizer.encode("the wind")
    assert tokenizer.decode(numpy.array(ids)) == tokenizer.decode(ids)


def test_the_leading_space_of_sentencepiece_is_taken_back() -> None:
    tokenizer = load_metadata(**spm_metadata())
    assert tokenizer.decode(tokenizer.encode("the wind")) == "the wind"
    assert tokenizer.decode(tokenizer.encode(" the wind")) == " the wind"
    plain = load_metadata(**spm_metadata(), add_space_prefix=False)
    assert plain.decode(plain.encode(" the wind")) == " the wind"


def test_added_bos_and_eos_follow_the_metadata() -> None:
    fields = byte_pair_metadata()
    assert not load_metadata(**fields).adds_bos
    both = load_metadata(**fields, add_bos_token=True, add_eos_token=True)
    assert both.encode("a")[0] == fields["bos_token_id"]
    assert both.encode("a")[-1] == fields["eos_token_id"]
    assert load_metadata(**fields | {"pre": "llama-bpe"}).adds_bos, "llama.cpp's default for Llama 3"


def test_end_of_turn_markers_are_control_tokens_whatever_their_type() -> None:
    fields = byte_pair_metadata()
    fields["token_type"] = [1] * len(fields["tokens"])
    tokenizer = load_metadata(**fields)
    assert tokenizer.token_id("<|im_end|>") in tokenizer.special_ids


def test_user_defined_tokens_are_text_and_found_whole() -> None:
    for fields in (byte_pair_metadata(), spm_metadata()):
        fields["tokens"] = [*fields["tokens"], "<tool>"]
        fields["token_type"] = [*fields["token_type"], 4]
        if "scores" in fields:
            fields["scores"] = [*fields["scores"], 0.0]
        tokenizer = load_metadata(**fields)
        tool = tokenizer.vocab_size - 1
        for parse_special in (True, False):
            assert tool in tokenizer.encode("a<tool>b", parse_special=parse_special)
        assert tokenizer.token_bytes(tool) == b"<tool>"


def test_an_unknown_kind_of_source_is_refused() -> None:
    class Source:
        kind, files, metadata = "tiktoken", {}, {}

    with pytest.raises(UnsupportedError, match="tiktoken"):
        load_tokenizer(Source())
