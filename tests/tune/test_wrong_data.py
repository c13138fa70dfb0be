"""Wrong data of every kind names the file, the line and the reason, before anything is trained."""
# ruff: noqa: E501 (a table is easier to read with a row in a line)

import json
import os
import tracemalloc
from pathlib import Path

import pytest
from tune_cases import MARKED, encoder, unmarked

from fairway.errors import FairwayError, FormatError, UsageError
from fairway.tune import csv_records
from fairway.tune.check import check
from fairway.tune.dataset import open_dataset
from fairway.tune.line_index import MAX_LINE_BYTES

GOOD = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]}


def line(*messages, **more):
    return json.dumps({"messages": list(messages), **more})


USER, ANSWER = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}
CALL = {"type": "function", "id": "a", "function": {"name": "f", "arguments": "{}"}}

# The second line of a file, the kind of finding, and what is said about it.
ROWS = {
    "cut off": ('{"messages": [{"role": "us', "json", "not valid JSON (Unterminated string"),
    "two objects": (line(USER, ANSWER) * 2, "json", "not valid JSON (Extra data, column 94"),
    "a list": ("[1, 2]", "json", "the row is a JSON list, not an object"),
    "no number": ('{"messages": NaN}', "json", "NaN is no number in JSON"),
    "half an emoji": ('{"messages": [{"role": "user", "content": "\\ud83e"}]}', "json", "surrogate"),
    "deep": ("[" * 100_000, "json", "nested too deeply"),
    "long number": ('{"messages": ' + "9" * 6000 + "}", "json", "a number has thousands of digits"),
    "nothing but zeros": (line(USER, {"role": "assistant", "content": "a\0b"}), "nul", "holds a NUL character"),
    "another shape": ('{"instruction": "Hi"}', "shape", "messages is missing; the file's first row is OpenAI messages"),
    "no messages": ('{"messages": []}', "shape", "a list of messages that is not empty"),
    "message is text": ('{"messages": ["Hi"]}', "shape", "messages[0] is a str, not a message"),
    "no role": (line({"content": "Hi"}), "role", "messages[0] has no role"),
    "wrong role": (line({"role": "asistant", "content": "Hi"}), "role", "messages[0] has the role 'asistant'"),
    "role is no text": (line({"role": ["user"], "content": "Hi"}), "role", "has the role ['user']"),
    "no content": (line({"role": "user"}), "content", "messages[0].content is missing"),
    "content is a number": (line({"role": "user", "content": 3}), "content", "a int, not text"),
    "picture": (line({"role": "user", "content": [{"type": "image_url"}]}), "content", "type 'image_url'"),
    "weight": (line(USER, ANSWER | {"weight": 0.5}), "content", "weight is 0.5; it can be 0 or 1"),
    "empty answer": (line(USER, {"role": "assistant", "content": " \n"}), "empty-answer", "messages[1] is an empty"),
    "no answer": (line(USER, {"role": "assistant", "content": None}), "empty-answer", "an empty assistant turn"),
    "call is text": (line(USER, {"role": "assistant", "tool_calls": ["f"]}), "content", "tool_calls[0] has no"),
    "call without a name": (
        line(USER, {"role": "assistant", "tool_calls": [{"function": {}}]}), "content", "function has no name",
    ),
    "arguments": (
        line(USER, {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}),
        "json", "arguments is not valid JSON",
    ),
    "result of nothing": (line(USER, {"role": "tool", "content": "3"}, ANSWER), "role-order", "no call asked for"),
    "result of another call": (
        line(USER, {"role": "assistant", "tool_calls": [CALL]},
             {"role": "tool", "tool_call_id": "b", "content": "3"}, ANSWER),
        "role-order", "answers the call 'b', which nobody made",
    ),
    "only the user": (line(USER), "nothing-learned", "no token is learned"),
    "all weights are zero": (line(USER, ANSWER | {"weight": 0}), "nothing-learned", "no token is learned"),
    "tools are text": (line(USER, ANSWER, tools="[{]"), "json", "tools is not valid JSON"),
    "tool without a name": (line(USER, ANSWER, tools=[{}]), "shape", "tools[0] is no function with a name"),
    "tools that the template hides": (
        line(USER, ANSWER, tools=[{"function": {"name": "f"}}]), "dropped", "leaves out the tool 'f'",
    ),
    "two answers": (line(USER, ANSWER, ANSWER), "turn-order", "messages 2 and 3 are both the assistant's"),
    "assistant first": (line(ANSWER, USER, ANSWER), "turn-order", "the assistant speaks first"),
    "late system": (
        line(USER, {"role": "system", "content": "S"}, ANSWER), "turn-order", "message 2 is the system's",
    ),
    "open question": (line(USER, ANSWER, USER), "turn-order", "the user's, which nobody answers"),
}  # fmt: skip


BESIDES = {"near-duplicate", "turn-order", "dropped"}
"""What some of these rows are too: like the first one, without an answer, with a call that ChatML hides."""


def checked(path, template=None, held_out=None):
    found = encoder(template or unmarked(MARKED["chatml"]))
    other = None if held_out is None else open_dataset(held_out)
    return check("model", open_dataset(path), other, found, lambda *_: None)


def findings(report):
    return {group.kind: group.first for group in report.files[0].groups}


@pytest.mark.parametrize("name", ROWS)
def test_row_is_named(name, tmp_path):
    text, kind, said = ROWS[name]
    path = tmp_path / "data.jsonl"
    path.write_text(
        "\n".join([json.dumps(GOOD), "", text, line(USER, {"role": "assistant", "content": "Hey"})])
    )
    report = checked(path)
    found = findings(report)
    assert kind in found
    assert set(found) <= {kind} | BESIDES
    assert found[kind][0].place == "data.jsonl line 3"
    assert said in found[kind][0].message
    assert report.passed() == (kind == "turn-order")
    assert not report.passed(strict=True)
    assert report.files[0].num_rows == 3


LATIN1 = json.dumps({"messages": [USER, {"role": "assistant", "content": "né"}]}, ensure_ascii=False)


def test_a_line_that_is_not_utf8(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b"\n" + LATIN1.encode("latin-1") + b"\n")
    [found] = findings(checked(path))["encoding"]
    assert found.place == "data.jsonl line 2"
    assert "(0xE9, near" in found.message
    assert "iconv -f WINDOWS-1252" in found.hint


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-16", "the file is UTF-16, not UTF-8"),
        ("utf-16-le", "UTF-16 (LE, without a mark)"),
        ("utf-16-be", "UTF-16 (BE, without a mark)"),
        ("utf-32", "the file is UTF-32"),
    ],
)
@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "txt"])
def test_other_encodings(encoding, said, ending, tmp_path):
    path = tmp_path / f"data.{ending}"
    path.write_text(LATIN1, encoding)
    with pytest.raises(FormatError, match=r"data\.\w+ line 1: the file is") as error:
        open_dataset(path)
    assert said in error.value.message
    assert "iconv" in error.value.hint


@pytest.mark.parametrize(
    ("beginning", "said"), [(b"\x1f\x8b\x08", "gzip"), (b"PK\x03\x04", "a zip archive"), (b"BZh9", "bzip2")]
)
def test_packed_files(beginning, said, tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_bytes(beginning + bytes(range(200)))
    with pytest.raises(FormatError, match=said):
        open_dataset(path)


def test_a_mark_at_the_beginning_is_no_error(tmp_path):
    for ending, text in (("jsonl", json.dumps(GOOD)), ("json", json.dumps([GOOD])), ("csv", "text\nHi")):
        path = tmp_path / f"data.{ending}"
        path.write_text(text, "utf-8-sig")
        assert len(open_dataset(path)) == 1
        assert open_dataset(path).row(0)


def test_a_line_of_two_gigabytes_is_named_and_not_read(tmp_path):
    path = tmp_path / "data.jsonl"
    with path.open("wb") as file:
        file.write(json.dumps(GOOD).encode() + b"\n" + b'{"text": "')
        file.seek(2 << 30)
        file.write(b"\n" + line(USER, {"role": "assistant", "content": "after"}).encode())
    tracemalloc.start()
    try:
        report = checked(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    [found] = findings(report)["line-length"]
    assert found.place == "data.jsonl line 2"
    assert f"at most {MAX_LINE_BYTES:,} are read" in found.message
    assert report.files[0].num_examples == 2
    assert peak < 100 << 20


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"text": "a"},\n {"text": "b"\n]', r"data.json line 3: not valid JSON \(Expecting ',' delimiter"),
        ('[{"text": "a"}\n {"text": "b"}]', "data.json line 2: not valid JSON .a comma or ] is missing"),
        ('[{"text": "a"},\n {"text": NaN}]', "data.json line 2: NaN is no number"),
        ('[\n{"text": "a"},', "data.json line 2: not valid JSON .the list does not end"),
        (
            '[{"text": "a"}] [',
            "data.json line 1: not valid JSON .the list does not end, or something follows",
        ),
        ("[\n" + "[" * 100_000, "data.json line 2: the JSON is nested too deeply"),
        ("[]", "holds no rows"),
        ("", "is empty"),
    ],
)
def test_broken_lists(text, said, tmp_path):
    path = tmp_path / "data.json"
    path.write_text(text)
    with pytest.raises(FormatError, match=said):
        open_dataset(path)


def test_a_byte_in_a_list_that_is_not_utf8(tmp_path):
    path = tmp_path / "data.json"
    path.write_bytes('[{"text": "a"},\n\n{"text": "é"}]'.encode("latin-1"))
    with pytest.raises(FormatError, match=r"data\.json line 3: byte 28"):
        open_dataset(path)


@pytest.mark.parametrize(
    ("text", "kind", "said", "number"),
    [
        ("prompt,completion\na,b\nc\n", "csv", "the row has 1 cells and the header 2", 3),
        ('prompt,completion\na,b\n"c"d,e\n', "csv", "not valid CSV", 3),
        ('prompt,completion\n"a\nb",c\nd,\n', "shape", "completion is missing", 4),
        ('prompt,completion\na,b\n"c,d\n', "csv", "not valid CSV", 3),
    ],
)
def test_broken_csv(text, kind, said, number, tmp_path):
    path = tmp_path / "data.csv"
    path.write_text(text)
    [found] = findings(checked(path))[kind]
    assert found.place == f"data.csv line {number}"
    assert said in found.message


def test_a_quotation_mark_that_is_not_closed_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_records, "MAX_LINE_BYTES", 1 << 20)
    path = tmp_path / "data.csv"
    with path.open("wb") as file:
        file.write(b'prompt,completion\na,b\n"c,d\n')
        file.seek((1 << 20) + 1000)
        file.write(b"\ne,f\n")
    [found] = findings(checked(path))["line-length"]
    assert found.place == "data.csv line 3"
    assert "not closed" in found.hint


def test_files_that_are_none(tmp_path):
    with pytest.raises(UsageError, match="is not there"):
        open_dataset(tmp_path / "absent.jsonl")
    with pytest.raises(UsageError, match="is a folder"):
        open_dataset(tmp_path)
    os.mkfifo(tmp_path / "pipe.jsonl")
    for path in (tmp_path / "pipe.jsonl", Path("/dev/zero")):
        with pytest.raises(UsageError, match="is a pipe or a device; data is one file on disk"):
            open_dataset(path)


def test_a_name_that_promises_parquet(tmp_path):
    path = tmp_path / "data.parquet"
    path.write_bytes(b"<html><body>Sign in to download")
    with pytest.raises(FormatError, match=r"data\.parquet is no Parquet file: it begins with b'<html><b'"):
        open_dataset(path)


def test_two_columns_of_one_name(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("prompt,completion,prompt\na,b,c\n")
    with pytest.raises(FormatError, match=r"data\.csv line 1: two columns are called 'prompt'"):
        open_dataset(path)


def test_line_ends_of_other_systems(tmp_path):
    path, rows = (
        tmp_path / "data.jsonl",
        [json.dumps(GOOD), line(USER, {"role": "assistant", "content": "Hey"})],
    )
    path.write_bytes("\r\n".join([*rows, "", ""]).encode())
    report = checked(path)
    assert (report.files[0].num_rows, findings(report).keys() - BESIDES) == (2, set())
    path.write_bytes("\r".join(rows).encode())
    with pytest.raises(FormatError, match="line 1: not valid JSON") as error:
        open_dataset(path)
    assert "old Mac" in error.value.hint


def test_unknown_shapes_are_named_with_those_there_are(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text('{"turns": [], "id": 3}\n')
    with pytest.raises(
        FormatError, match=r"data\.jsonl line 1: the keys 'turns', 'id' are of no known shape"
    ) as error:
        open_dataset(path)
    assert "messages; conversations" in error.value.hint


def test_the_first_row_may_be_broken(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text("{\n" + json.dumps(GOOD) + "\n")
    report = checked(path)
    assert report.files[0].shape == "OpenAI messages"
    assert findings(report)["json"][0].place == "data.jsonl line 1"


def test_a_templates_refusal_names_the_line(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + line(USER, USER, ANSWER) + "\n")
    [found] = findings(checked(path, MARKED["gemma"]))["template"]
    assert (found.place, "Roles must alternate" in found.message) == ("data.jsonl line 2", True)


def test_training_would_meet_the_same_error(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps(GOOD) + "\n{")
    with pytest.raises(FairwayError, match=r"data\.jsonl line 2: not valid JSON"):
        open_dataset(path).row(1)
