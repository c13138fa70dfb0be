"""Where tokens end in their text, by the library and by ours: they agree wherever both know."""

import pytest
from hypothesis import given
from text_cases import CORPUS, SHARED, TEXTS, load_folder, needs_shared

from fairway.errors import RequestError
from fairway.formats.open import open_bundle
from fairway.registry.resolve import BUILTIN_FOLDER
from fairway.text.byte_tokenizer import ByteTokenizer
from fairway.text.loader import load_tokenizer
from fairway.text.token_places import ends_of
from fairway.text.tokenizer import Tokenizer


def test_ends_are_characters():
    assert ends_of("aé🦙b", [b"a", b"\xc3", b"\xa9", "🦙".encode(), b"b"]) == [1, 2, 2, 3, 4]


def test_white_space_that_a_control_token_swallows_is_skipped():
    assert ends_of("a<|end|>\n\nb", [b"a", b"<|end|>", b"b"]) == [1, 8, 11]


def test_a_space_that_the_tokenizer_puts_before_a_text_is_none_of_it():
    assert ends_of("Hello there", [b" Hello", b" there"]) == [5, 11]


def test_tokens_that_spell_another_text_are_an_error():
    with pytest.raises(RequestError, match="do not spell the text at byte 1"):
        ends_of("abc", [b"a", b"x"])


@given(TEXTS)
def test_bytes_end_one_after_the_other(text):
    [found] = ByteTokenizer().encode_located([text])
    plain = text.replace("<s>", "?").replace("</s>", "?")
    assert len(found.ids) == len(found.ends) >= len(plain) - text.count("s>") * 4
    assert found.ends == sorted(found.ends)
    assert not found.ends or found.ends[-1] == len(text)


def test_several_texts_at_once_are_those_alone():
    tokenizer = load_tokenizer(open_bundle(BUILTIN_FOLDER).tokenizer)
    together = tokenizer.encode_located([*CORPUS, ""])
    assert together == [tokenizer.encode_located([text])[0] for text in [*CORPUS, ""]]
    assert [each.ids for each in together] == [
        tokenizer.encode(text, add_special_tokens=False) for text in [*CORPUS, ""]
    ]


def test_half_a_character_is_an_error():
    with pytest.raises(RequestError, match="lone surrogate"):
        ByteTokenizer().encode_located(["fine", "\ud83e"])


@needs_shared
@pytest.mark.parametrize("name", ["qwen3", "phi-3"])
def test_our_own_places_are_the_librarys(name):
    """Where a token is only white space, the library may end it with the next one."""
    tokenizer = load_folder(SHARED / "tokenizers" / name)
    texts = [text for text in CORPUS if text.isascii() or name == "qwen3"]
    theirs, ours = tokenizer.encode_located(texts), Tokenizer._encode_located(tokenizer, texts)
    for text, expected, found in zip(texts, theirs, ours, strict=True):
        assert found.ids == expected.ids
        same = sum(a == b for a, b in zip(found.ends, expected.ends, strict=True))
        assert same >= 0.9 * len(found.ends), text


@needs_shared
def test_a_gguf_and_a_folder_of_one_vocabulary_end_their_tokens_alike():
    folder = SHARED / "models" / "babyllama"
    texts = ["Once upon a time,", "the cat sat.", "a  b"]
    [one, other] = [
        load_tokenizer(open_bundle(path).tokenizer) for path in (folder, folder / "babyllama-f32.gguf")
    ]
    first, second = one.encode_located(texts), other.encode_located(texts)
    assert [each.ids for each in first] == [each.ids for each in second]
    assert [each.ends[-1] for each in first] == [each.ends[-1] for each in second] == [len(t) for t in texts]
