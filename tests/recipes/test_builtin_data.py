"""Text, tokenizer and conversations of the built-in model's recipe."""

import json
from dataclasses import replace

import numpy as np
import pytest
from builtin_fixtures import SENTENCES, tiny_recipe, write_texts
from recipes.builtin_model.conversations import main_name, main_subject, story_request
from recipes.builtin_model.prepare import num_tokens, prepare
from recipes.builtin_model.text import read_texts
from recipes.builtin_model.tokenizer import load_tokenizer, train_tokenizer

from fairway.formats.open import open_bundle
from fairway.tune.dataset import open_dataset
from fairway.tune.encode import encoder_for
from fairway.tune.rows import ChatRow, TextRow
from fairway.tune.settings import DataSettings

ODD_TEXTS = [
    "",
    " ",
    "   three spaces",
    "one, two  three ",
    "tab\there\n\n  and\r\nlines\n",
    "naïve “quotes” — 中文 😀\u200d",
    "\x00\x01 1234567",
]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(SENTENCES * 3, 320)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    prepare(write_texts(folder / "data"), folder / "work", tiny_recipe())
    return folder / "work"


def rows_of(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_held_out_text_is_in_neither_half_twice(tmp_path):
    texts = read_texts(write_texts(tmp_path), tiny_recipe().text)
    assert list(texts.held_out_books) == ["b.md"]
    assert len(texts.books) == 2
    assert not any("Book b" in book for book in texts.books)
    assert (len(texts.stories), len(texts.held_out_stories)) == (6, 2)


def test_missing_held_out_book_is_an_error(tmp_path):
    plan = replace(tiny_recipe().text, held_out_books=("nowhere.md",))
    with pytest.raises(FileNotFoundError, match=r"nowhere\.md"):
        read_texts(write_texts(tmp_path), plan)


def test_every_nth_book_keeps_its_line_ends(tmp_path):
    texts = read_texts(write_texts(tmp_path), tiny_recipe().text)
    assert ["\r" in book for book in texts.books] == [True, False]


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_tokenizer_round_trip(tokenizer, text):
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == text
    assert tokenizer.token_to_id("<unk>") not in ids


def test_prepared_text_holds_stories_as_often_as_the_recipe_says_and_nothing_held_out(work):
    rows = [row["text"] for row in rows_of(work / "text.jsonl")]
    assert len(rows) == 2 + 6 * tiny_recipe().text.story_repeats
    assert not any("Book b" in row for row in rows)
    assert len(rows_of(work / "held-out.jsonl")[0]["text"]) == 40


def test_what_is_prepared_stays_as_it_is(work):
    before = {path: path.read_bytes() for path in work.rglob("*") if path.is_file()}
    prepare(work.parent / "data", work, tiny_recipe())
    assert {path: path.read_bytes() for path in before} == before


def test_a_text_is_learned_between_its_begin_and_its_end(work):
    encoder = encoder_for(open_bundle(work / "scratch"), DataSettings(too_long="keep"))
    [[text]] = encoder.encode([TextRow("The bear.")])
    ids = load_tokenizer(work / "tokenizer.json").encode("The bear.", add_special_tokens=False).ids
    assert text.ids.tolist() == [1, *ids, 2]


def test_conversations_and_passages_have_their_shares_and_fit(work):
    plan = tiny_recipe().conversations
    rows = rows_of(work / "conversations.jsonl")
    chats = [row["messages"] for row in rows if "messages" in row]
    tokenizer = load_tokenizer(work / "tokenizer.json")
    sizes = [num_tokens(tokenizer, messages) for messages in chats]
    assert sum(sizes[:-1]) < 0.8 * plan.num_tokens <= sum(sizes)
    assert max(sizes) <= plan.length
    assert len(rows) - len(chats) == round(0.2 * plan.num_tokens / plan.length)


def test_conversations_and_passages_are_rows_of_one_file(work):
    data = open_dataset(work / "conversations.jsonl")
    types = {type(data.row(index)) for index in range(len(data))}
    assert types == {ChatRow, TextRow}


def test_story_requests_name_what_the_story_is_about():
    story = "A girl named Lily had a dog. The dog was big. Lily and the dogs played."
    assert (main_subject(story), main_name(story)) == ("dog", "Lily")
    assert main_subject("A cat slept.") is None
    request = story_request(story, np.random.default_rng(0))
    assert "{" not in request
