"""Text, tokenizer, windows and conversations of the built-in model's recipe."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
jinja2 = pytest.importorskip("jinja2")

from builtin_fixtures import SENTENCES, tiny_recipe, write_texts  # noqa: E402
from recipes.builtin_model.chat import TEMPLATE, Message, encode_chat  # noqa: E402
from recipes.builtin_model.conversations import (  # noqa: E402
    Material,
    main_name,
    main_subject,
    story_request,
)
from recipes.builtin_model.data import WindowStream, encode_documents, prepare  # noqa: E402
from recipes.builtin_model.evaluate import overlapping_windows  # noqa: E402
from recipes.builtin_model.instruct import InstructData  # noqa: E402
from recipes.builtin_model.text import read_texts  # noqa: E402
from recipes.builtin_model.tokenizer import train_tokenizer  # noqa: E402

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


def test_prepare_caches_tokenizer_and_tokens(tmp_path):
    data, work = write_texts(tmp_path / "data"), tmp_path / "work"
    work.mkdir()
    _, first, _ = prepare(data, work, tiny_recipe())
    _, second, _ = prepare(data, work, tiny_recipe())
    assert np.array_equal(first, second)


def test_an_epoch_reads_each_window_once():
    stream = WindowStream(np.arange(100, dtype=np.uint16), 10, seed=3)
    starts = [int(stream.next_batch(1)[0][0, 0]) for _ in range(9)]
    assert len({start // 10 for start in starts}) == 9
    inputs, targets = stream.next_batch(2)
    assert torch.equal(inputs + 1, targets)


@pytest.mark.parametrize("num_ids", [2, 7, 8, 9, 25, 64])
def test_overlapping_windows_count_each_token_once(num_ids):
    windows = list(overlapping_windows(list(range(num_ids)), length=8, stride=4))
    counted = [int(t) for _, targets in windows for t in targets if t >= 0]
    assert counted == list(range(1, num_ids))
    assert all(len(inputs) == len(targets) <= 8 for inputs, targets in windows)


def test_chat_ids_are_the_rendered_template_encoded(tokenizer):
    messages = [Message("system", "Be kind."), Message("user", "A story?"), Message("assistant", "The fox.")]
    ids, learned = encode_chat(tokenizer, messages)
    rendered = jinja2.Template(TEMPLATE).render(
        bos_token="<s>", messages=[vars(message) for message in messages], add_generation_prompt=False
    )
    assert tokenizer.encode(rendered, add_special_tokens=False).ids == ids
    spoken = [x for x, learn in zip(ids, learned, strict=True) if learn]
    assert tokenizer.decode(spoken, skip_special_tokens=False) == "The fox.<|end|>"


def test_story_requests_name_what_the_story_is_about():
    story = "A girl named Lily had a dog. The dog was big. Lily and the dogs played."
    assert (main_subject(story), main_name(story)) == ("dog", "Lily")
    assert main_subject("A cat slept.") is None
    request = story_request(story, np.random.default_rng(0))
    assert "{" not in request


def test_instruction_batches_depend_on_the_step_alone(tokenizer):
    tokens = encode_documents(tokenizer, SENTENCES * 4)
    material = Material(["A fox had a ball. The fox ran."], [("2 + 2?", "4")], [("Hi", "Hello!")])
    data = InstructData(tiny_recipe().instruct, tokenizer, tokens, material)
    once, again, other = data.batches(3), data.batches(3), data.batches(4)
    assert all(
        torch.equal(a, b) for one, two in zip(once, again, strict=True) for a, b in zip(one, two, strict=True)
    )
    assert not torch.equal(once[0][0], other[0][0])
    assert all(inputs.shape == targets.shape for inputs, targets in once)
