"""The linter's figures and findings, on data that was made for each."""

import json

import pytest
from tune_cases import FINETUNE, MARKED, SHARED, assistant, encoder, unmarked, user

from fairway.formats.open import open_bundle
from fairway.text.byte_tokenizer import EOS, ByteTokenizer
from fairway.text.chat_template import TRANSCRIPT, ChatTemplate
from fairway.tune.check import check
from fairway.tune.dataset import open_dataset
from fairway.tune.encode import Encoder, encoder_for, fitted
from fairway.tune.findings import KINDS
from fairway.tune.render import Renderer
from fairway.tune.rows import RowError, TextRow
from fairway.tune.settings import DataSettings
from fairway.tune.shapes import shape_of
from fairway.tune.statistics import lengths_of

CHATML = unmarked(MARKED["chatml"])


def chat(question, answer, *more):
    return {"messages": [user(question), assistant(answer), *more]}


def written(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), "utf-8")
    return open_dataset(path)


def checked(tmp_path, *records, held_out=None, template=CHATML, settings=None):
    training = written(tmp_path / "train.jsonl", *records)
    other = None if held_out is None else written(tmp_path / "test.jsonl", *held_out)
    return check("model", training, other, encoder(template, settings), lambda *_: None)


def kinds(file):
    return {group.kind: group.count for group in file.groups}


def first(file, kind):
    return next(group.first[0] for group in file.groups if group.kind == kind)


def test_figures(tmp_path):
    [file] = checked(tmp_path, chat("Hi", "Yes"), chat("Hello", "No", user("Sure?"), assistant("Yes!"))).files
    assert (file.num_rows, file.num_examples, file.num_stopping) == (2, 2, 2)
    assert file.num_learned == len("Yes") + 1 + len("No") + 1 + len("Yes!") + 1
    assert (file.format, file.shape, file.objective) == ("JSON lines", "OpenAI messages", "chat")
    assert file.lengths.longest > file.lengths.shortest > 0
    assert sum(count for _, _, count in file.lengths.bins) == 2
    assert kinds(file) == {}


def test_prompts_alone_are_told_from_answers(tmp_path):
    [file] = checked(tmp_path, {"prompt": "Hi"}, {"prompt": "Hello"}).files
    assert (file.num_examples, file.num_learned) == (2, 0)
    assert kinds(file) == {"unanswered": 2}


def test_duplicates(tmp_path):
    pairs = [("Hi", "Yes."), ("One", "two"), ("Hi", "Yes."), ("  hi!", "yes"), ("1 + 1", "2"), ("1 - 1", "2")]
    rows = [chat(*pair) for pair in pairs]
    [file] = checked(tmp_path, *rows).files
    assert kinds(file) == {"duplicate": 1, "near-duplicate": 1}
    assert first(file, "duplicate").place == "train.jsonl line 3"
    assert (first(file, "near-duplicate").place, first(file, "near-duplicate").message) == (
        "train.jsonl line 4",
        "as line 1",
    )


def test_overlap_with_the_held_out_file(tmp_path):
    report = checked(
        tmp_path,
        *(chat(f"question {at}", f"answer {at}") for at in range(5)),
        held_out=[
            chat("question 3", "answer 3"),
            chat("Question 2?", "Answer 2!"),
            chat("question 1", "other"),
            chat("new", "new"),
        ],
    )
    training, held_out = report.files
    assert kinds(training) == {}
    assert kinds(held_out) == {"held-out": 1, "held-out-near": 1, "held-out-prompt": 1}
    assert first(held_out, "held-out").message == "as train.jsonl line 4"
    assert first(held_out, "held-out-prompt").place == "test.jsonl line 3"
    assert not report.passed()


def test_duplicate_texts_have_no_prompt_in_common(tmp_path):
    report = checked(tmp_path, {"text": "one"}, {"text": "two"}, held_out=[{"text": "three"}])
    assert kinds(report.files[1]) == {}


@pytest.mark.parametrize("way", ["refuse", "skip", "truncate"])
def test_long_rows_are_counted_whatever_becomes_of_them(way, tmp_path):
    settings = DataSettings(max_length=60, too_long=way)
    report = checked(tmp_path, chat("Hi", "short"), chat("Hi", "long " * 30), settings=settings)
    [file] = report.files
    assert kinds(file) == {{"refuse": "too-long", "skip": "skipped", "truncate": "truncated"}[way]: 1}
    assert report.passed() == (way != "refuse")
    assert file.num_examples == (1 if way == "skip" else 2)
    assert "tokens" in file.groups[0].first[0].message


def test_a_row_that_is_cut_before_its_answer_teaches_nothing(tmp_path):
    settings = DataSettings(max_length=60, too_long="truncate")
    [file] = checked(tmp_path, chat("long " * 30, "Yes"), settings=settings).files
    assert kinds(file) == {"nothing-learned": 1, "truncated": 1}


def test_an_answer_without_its_end_is_found(tmp_path):
    """The tags leave no end-of-text token to be learned, and none follows them."""
    template = MARKED["chatml"].replace("<|im_end|>' }}{% endgeneration %}", "' }}{% endgeneration %}")
    report = checked(tmp_path, chat("Hi", "Yes"), template=template)
    assert kinds(report.files[0]) == {"no-end": 1}
    assert report.files[0].num_stopping == 0


def test_ends_are_added_where_the_template_has_none(tmp_path):
    [file] = checked(tmp_path, chat("Hi", "Yes", user("?"), assistant("No")), template=TRANSCRIPT).files
    assert kinds(file) == {"split": 1, "end-added": 2}
    assert (file.num_examples, file.num_stopping) == (2, 2)


def test_two_bos_tokens_are_found(tmp_path):
    [file] = checked(
        tmp_path, chat("Hi", "Yes"), template="{{ bos_token }}" + unmarked(MARKED["llama 3"])
    ).files
    assert kinds(file) == {"two-bos": 1}


def test_what_looks_unfinished_is_found(tmp_path):
    rows = [chat("Who?", "I am {{ name }}."), chat("Hi", "Stop here.<|im_end|>"), chat("{{ x }}?", "Jinja")]
    assert kinds(checked(tmp_path, *rows).files[0]) == {"placeholder": 1, "control-token": 1}


@pytest.mark.skipif(not FINETUNE.is_dir(), reason="../shared is absent")
def test_characters_that_a_vocabulary_lacks_are_found(tmp_path):
    found = encoder_for(open_bundle(SHARED / "models" / "babyllama"), DataSettings())
    data = written(tmp_path / "train.jsonl", {"text": "the cat"}, {"text": "a = b"})
    [file] = check("model", data, None, found, lambda *_: None).files
    assert kinds(file) == {"unknown-token": 1}
    assert first(file, "unknown-token").message.startswith("1 of ")


def test_outliers_are_found(tmp_path):
    rows = [chat(f"question {at}", "short") for at in range(30)] + [chat("Hi", "long " * 500)]
    [file] = checked(tmp_path, *rows).files
    assert kinds(file) == {"outlier": 1}
    assert first(file, "outlier").place == "train.jsonl line 31"


def test_equal_preferences_are_found(tmp_path):
    row = {"prompt": "Q", "chosen": "A", "rejected": "A"}
    [file] = checked(tmp_path, row, row | {"rejected": "B"}).files
    assert kinds(file) == {"same-answers": 1}
    assert file.num_examples == 4
    assert [shown.part for shown in file.shown] == ["chosen", "rejected", "chosen", "rejected"]


def test_only_completions_of_preferences_are_learned():
    row = shape_of(record := {"prompt": "Q", "chosen": "good", "rejected": "bad"}).row(record)
    [[chosen, rejected]] = encoder(CHATML).encode([row])
    assert (chosen.num_learned, rejected.num_learned) == (5, 4)
    assert (chosen.part, rejected.part) == ("chosen", "rejected")


@pytest.mark.parametrize(("learn", "learned"), [("assistant", 3 + 4), ("last", 4), ("all", None)])
def test_which_turns_are_learned(learn, learned):
    record = chat("Q", "No", user("?"), assistant("Yes"))
    [[example]] = encoder(CHATML, DataSettings(learn=learn)).encode([shape_of(record).row(record)])
    assert example.num_learned == (len(example) if learned is None else learned)


def test_a_weight_of_zero_is_shown_and_not_learned():
    record = {"messages": [user("Q"), assistant("No", weight=0), user("?"), assistant("Yes", weight=1)]}
    [[example]] = encoder(CHATML).encode([shape_of(record).row(record)])
    assert example.num_learned == 4


def test_raw_pairs_are_joined_as_they_are():
    record = {"prompt": "Q: 1+1\nA:", "completion": " 2"}
    [[example]] = encoder(CHATML, DataSettings(raw=True)).encode([shape_of(record).row(record)])
    assert example.learned.tolist() == [False] * 9 + [True] * 3
    three = chat("a", "b", user("c"))
    [error] = encoder(CHATML, DataSettings(raw=True)).encode([shape_of(three).row(three)])
    assert isinstance(error, RowError)


def test_text_begins_and_ends_once():
    """Whatever the tokenizer adds by itself, and whatever the text holds already."""
    for adds_bos in (True, False):
        tokens = ByteTokenizer(adds_bos=adds_bos)
        made = Encoder(tokens, Renderer(ChatTemplate(TRANSCRIPT), ["</s>"], "</s>"), DataSettings(), [EOS])
        for text in ("ab", "ab</s>", "<s>ab</s>"):
            [[example]] = made.encode([TextRow(text)])
            assert (
                tokens.decode(example.ids.tolist(), skip_special_tokens=False).removeprefix("<s>") == "ab</s>"
            )
            assert example.learned[-3:].tolist() == [True] * 3


def test_fitting_changes_nothing_that_fits():
    row = shape_of(record := chat("Q", "A")).row(record)
    [[example]] = encoder(CHATML).encode([row])
    assert fitted(row, [example], DataSettings(max_length=len(example)))[0] is example
    [cut] = fitted(row, [example], DataSettings(max_length=5, too_long="truncate"))
    assert (len(cut), cut.num_cut) == (5, len(example) - 5)


def test_a_preference_is_skipped_whole(tmp_path):
    settings = DataSettings(max_length=60, too_long="skip")
    row = {"prompt": "Q", "chosen": "A", "rejected": "long " * 30}
    [file] = checked(tmp_path, row, row | {"rejected": "B"}, settings=settings).files
    assert kinds(file) == {"skipped": 1}
    assert (file.num_rows, file.num_examples) == (2, 2)


def test_bins_cover_all_lengths():
    for longest in (1, 9, 14, 100, 12_345):
        found = lengths_of([1, longest])
        assert len(found.bins) <= 14
        assert found.bins[0][0] == 0 <= longest < found.bins[-1][1]
    assert lengths_of([]) is None


def test_every_kind_has_a_level():
    assert {level for level, _ in KINDS.values()} == {"error", "warning", "note"}


# file -> rows, examples, kinds found with ChatML and a token per byte.
REAL = {
    "instructions-rasbt/instruction-data.json": (1100, 1100, {}),
    "instructions-rasbt/instruction-data-with-preference.json": (1100, 2200, {"same-answers": 6}),
    "llama-factory/identity.json": (91, 91, {"placeholder": 85}),
    "llama-factory/v1_sft_demo.jsonl": (500, 500, {"duplicate": 1, "placeholder": 50}),
    "sharegpt/dummy_conversation.json": (500, 500, {}),
    "wikisql/train.jsonl": (1000, 1000, {"duplicate": 1, "near-duplicate": 1}),
    "gsm8k/test.jsonl": (1319, 1319, {}),
}


@pytest.mark.skipif(not FINETUNE.is_dir(), reason="../shared is absent")
@pytest.mark.parametrize("name", REAL)
def test_real_data(name):
    [file] = check("model", open_dataset(FINETUNE / name), None, encoder(CHATML), lambda *_: None).files
    found = {kind: count for kind, count in kinds(file).items() if kind != "outlier"}
    assert (file.num_rows, file.num_examples, found) == REAL[name]
    assert file.num_stopping == file.num_examples


@pytest.mark.skipif(not FINETUNE.is_dir(), reason="../shared is absent")
def test_real_test_splits_are_held_out():
    folder = FINETUNE / "wikisql"
    training = open_dataset(folder / "train.jsonl")
    report = check("model", training, open_dataset(folder / "test.jsonl"), encoder(CHATML), lambda *_: None)
    assert kinds(report.files[1]) == {}
