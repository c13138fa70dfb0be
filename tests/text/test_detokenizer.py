"""Streaming and decoding at once are the same text, for any ids."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from text_cases import KINDS

from fairway.errors import RequestError
from fairway.text.byte_tokenizer import ByteTokenizer
from fairway.text.detokenizer import Detokenizer
from fairway.text.tokenizer import Tokenizer

EVERY = {"bytes": ByteTokenizer} | KINDS
IDS = st.lists(st.integers(0, 10**6), max_size=30)


@pytest.fixture(scope="module", params=EVERY)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return EVERY[request.param]()


def streamed(stream: Detokenizer, ids: list[int]) -> str:
    return "".join(map(stream.push, ids)) + stream.flush()


@given(ids=IDS, skip=st.booleans())
def test_pieces_join_to_the_whole(tokenizer: Tokenizer, ids: list[int], skip: bool) -> None:
    ids = [number % tokenizer.vocab_size for number in ids]
    stream = Detokenizer(tokenizer, skip_special_tokens=skip)
    assert streamed(stream, ids) == tokenizer.decode(ids, skip_special_tokens=skip)


@given(prompt=IDS, ids=IDS)
def test_text_after_a_prompt_continues_it(tokenizer: Tokenizer, prompt: list[int], ids: list[int]) -> None:
    """What the prompt already shows, and the first byte of a character it left open, is not shown twice."""
    prompt = [number % tokenizer.vocab_size for number in prompt]
    ids = [number % tokenizer.vocab_size for number in ids]
    before = Detokenizer(tokenizer)
    shown = "".join(map(before.push, prompt))
    answer = streamed(Detokenizer(tokenizer, prompt), ids)
    if prompt and tokenizer.adds_space_after(prompt[-1]):
        assert shown + answer in (tokenizer.decode(prompt + ids), shown + tokenizer.decode(ids))
    else:
        assert shown + answer == tokenizer.decode(prompt + ids)


def test_half_a_character_waits() -> None:
    stream = Detokenizer(ByteTokenizer())
    assert [stream.push(byte) for byte in "😀é".encode()] == ["", "", "", "😀", "", "é"]
    assert stream.flush() == ""


def test_an_unfinished_character_becomes_one_mark_at_the_end() -> None:
    stream = Detokenizer(ByteTokenizer())
    assert stream.push(0xF0) + stream.push(0x9F) == ""
    assert stream.flush() == "\ufffd"


def test_a_character_begun_in_the_prompt_is_finished_in_the_answer() -> None:
    first, *rest = "中".encode()
    stream = Detokenizer(ByteTokenizer(), [first])
    assert [stream.push(byte) for byte in rest] == ["", "中"]


def test_the_leading_space_goes_only_at_the_very_start() -> None:
    tokenizer = KINDS["SentencePiece"]()
    word = tokenizer.encode("the", add_special_tokens=False)
    assert streamed(Detokenizer(tokenizer), [*word, *word]) == "the the"
    assert streamed(Detokenizer(tokenizer, [tokenizer.bos_token_id]), word) == "the"
    assert streamed(Detokenizer(tokenizer, word), word) == " the"


@pytest.mark.parametrize("name", [name for name in EVERY if name not in ("bytes", "WordPiece")])
@pytest.mark.parametrize("learned", ["the", " the"])
def test_an_answer_behind_a_control_token_is_the_text_that_was_learned_there(name: str, learned: str) -> None:
    """A chat prompt ends with one; SentencePiece then adds a space, which is not part of the answer."""
    tokenizer = EVERY[name]()
    control = min(each for each in tokenizer.special_ids if tokenizer.token_text(each))
    ids = tokenizer.encode(f"the{tokenizer.token_text(control)}{learned}", add_special_tokens=False)
    at = ids.index(control) + 1
    assert streamed(Detokenizer(tokenizer, ids[:at]), ids[at:]) == learned


def test_an_impossible_id_is_a_request_error() -> None:
    with pytest.raises(RequestError, match="outside the vocabulary"):
        Detokenizer(ByteTokenizer()).push(258)


def test_a_long_answer_costs_the_same_per_token() -> None:
    tokenizer = ByteTokenizer()
    stream = Detokenizer(tokenizer, list(b"x" * 1_000_000))
    begun = time.thread_time()
    for _ in range(100_000):
        stream.push(97)
    assert time.thread_time() - begun < 5
