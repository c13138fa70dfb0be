import itertools

import pytest
import tokenizers
from benchmarks.comparison.http_loads import Texts
from benchmarks.comparison.vocabulary import END, tokenizer_json, tokens, words


@pytest.mark.parametrize("size", [257, 258, 300, 1024, 20_000])
def test_has_exactly_so_many_tokens_none_twice(size):
    assert len(set(tokens(size))) == size


def test_words_go_from_short_to_long():
    assert list(itertools.islice(words(), 28)) == [*"abcdefghijklmnopqrstuvwxyz", "aa", "ab"]


@pytest.fixture(scope="module")
def tokenizer():
    import json

    return tokenizers.Tokenizer.from_str(json.dumps(tokenizer_json(20_000)))


@pytest.mark.parametrize("text", [" abc xyz a", "no leading space", "Grüße, 世界! 12\n\t…", ""])
def test_any_text_comes_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_a_word_of_three_letters_is_one_token(tokenizer):
    assert len(tokenizer.encode(Texts().words(800)).ids) == 800


def test_the_end_is_id_0_and_special(tokenizer):
    assert tokenizer.token_to_id(END) == 0
    assert tokenizer.decode([0, 300]) == tokenizer.decode([300])
