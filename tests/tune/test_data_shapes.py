"""Every shape, from every format, becomes the same rows."""
# ruff: noqa: E501 (a table is easier to read with a shape in a line)

import csv
import json

import pytest

from fairway.tune.dataset import open_dataset
from fairway.tune.rows import ChatRow, KtoRow, Message, PreferenceRow, PromptRow, TextRow
from fairway.tune.shapes import SHAPES, row_of, shape_of

Q, A, WORSE = Message("user", "Q"), Message("assistant", "A"), Message("assistant", "B")
SYSTEM = Message("system", "S")
CALL = {"function": {"name": "f", "arguments": {"x": 1}}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}

RECORDS = [
    ("plain text", {"text": "Once."}, TextRow("Once.")),
    ("prompt and completion", {"prompt": "Q", "completion": "A"}, ChatRow((Q, A))),
    ("prompt and completion", {"prompt": [{"role": "user", "content": "Q"}],
                               "completion": [{"role": "assistant", "content": "A"}]}, ChatRow((Q, A))),
    ("prompt and response", {"prompt": "Q", "response": "A"}, ChatRow((Q, A))),
    ("question and answer", {"question": "Q", "answer": "A"}, ChatRow((Q, A))),
    ("Alpaca", {"instruction": "Q", "input": "", "output": "A"}, ChatRow((Q, A))),
    ("Alpaca", {"instruction": "Q", "input": "more", "output": "A", "system": "S"},
     ChatRow((SYSTEM, Message("user", "Q\nmore"), A))),
    ("Alpaca", {"instruction": "Q", "output": "A", "history": [["Q", "B"]]}, ChatRow((Q, WORSE, Q, A))),
    ("OpenAI messages", {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]},
     ChatRow((Q, A))),
    ("OpenAI messages", {"messages": [{"role": "developer", "content": "S"}, {"role": "user", "content": "Q"},
                                      {"role": "assistant", "content": "A", "weight": 0, "refusal": None}]},
     ChatRow((SYSTEM, Q, Message("assistant", "A", {}, 0)))),
    ("OpenAI messages", {"messages": [{"role": "user", "content": [{"type": "text", "text": "Q"}]},
                                      {"role": "assistant", "content": [{"type": "text", "value": "A"}],
                                       "loss_weight": 1.0}]}, ChatRow((Q, A))),
    ("OpenAI messages",
     {"messages": [{"role": "user", "content": "Q"},
                   {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": '{"x": 1}'}}]},
                   {"role": "tool", "tool_call_id": "t", "content": "1"}], "tools": [TOOL]},
     ChatRow((Q, Message("assistant", "", {"tool_calls": [CALL]}), Message("tool", "1", {"tool_call_id": "t"})),
             (TOOL,))),
    ("OpenAI messages",
     {"messages": [{"role": "user", "content": "Q"},
                   {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"x": 1}'}}],
      "functions": [TOOL["function"]]},
     ChatRow((Q, Message("assistant", "", {"tool_calls": [{"type": "function", **CALL}]})), (TOOL,))),
    ("ShareGPT", {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]},
     ChatRow((Q, A))),
    ("ShareGPT",
     {"conversations": [{"from": "human", "value": "Q"},
                        {"from": "function_call", "value": '{"name": "f", "arguments": {"x": 1}}'},
                        {"from": "observation", "value": "1"}],
      "system": "S", "tools": json.dumps([TOOL["function"]])},
     ChatRow((SYSTEM, Q, Message("assistant", "", {"tool_calls": [{"type": "function", **CALL}]}),
              Message("tool", "1")), (TOOL,))),
    ("preference", {"prompt": "Q", "chosen": "A", "rejected": "B"}, PreferenceRow((Q,), (A,), (WORSE,))),
    ("preference", {"prompt": [{"role": "user", "content": "Q"}],
                    "chosen": [{"role": "assistant", "content": "A"}],
                    "rejected": [{"role": "assistant", "content": "B"}]}, PreferenceRow((Q,), (A,), (WORSE,))),
    ("Alpaca preference", {"instruction": "Q", "input": "", "output": "?", "chosen": "A", "rejected": "B"},
     PreferenceRow((Q,), (A,), (WORSE,))),
    ("ShareGPT preference", {"conversations": [{"from": "human", "value": "Q"}],
                             "chosen": {"from": "gpt", "value": "A"}, "rejected": {"from": "gpt", "value": "B"}},
     PreferenceRow((Q,), (A,), (WORSE,))),
    ("OpenAI preference",
     {"input": {"messages": [{"role": "user", "content": "Q"}], "tools": [TOOL], "parallel_tool_calls": True},
      "preferred_output": [{"role": "assistant", "content": "A"}],
      "non_preferred_output": [{"role": "assistant", "content": "B"}]},
     PreferenceRow((Q,), (A,), (WORSE,), (TOOL,))),
    ("preference of whole conversations",
     {"chosen": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}],
      "rejected": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "B"}]},
     PreferenceRow((Q,), (A,), (WORSE,))),
    ("preference of whole conversations",
     {"chosen": "\n\nHuman: Q\n\nAssistant: A", "rejected": "\n\nHuman: Q\n\nAssistant: B"},
     PreferenceRow((Q,), (A,), (WORSE,))),
    ("KTO", {"prompt": "Q", "completion": "A", "label": False}, KtoRow((Q,), (A,), False)),
    ("KTO messages", {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}],
                      "label": True}, KtoRow((Q,), (A,), True)),
    ("prompts without answers", {"prompt": "Q"}, PromptRow((Q,))),
]  # fmt: skip
IDS = [f"{at}-{name}" for at, (name, _, _) in enumerate(RECORDS)]


@pytest.mark.parametrize(("name", "record", "expected"), RECORDS, ids=IDS)
def test_shape(name, record, expected):
    shape = shape_of(record)
    assert shape.name == name
    assert row_of(shape, record) == expected


def test_every_shape_is_shown():
    missing = {shape.name for shape in SHAPES} - {name for name, _, _ in RECORDS}
    assert missing == set()


def with_every_format(record, folder):
    pretty = json.dumps([record], indent=2, ensure_ascii=False)
    (folder / "a.json").write_text(pretty, "utf-8")
    (folder / "a.jsonl").write_text(json.dumps(record) + "\r\n", "utf-8")
    cells = {key: each if isinstance(each, str) else json.dumps(each) for key, each in record.items()}
    for ending, delimiter in (("csv", ","), ("tsv", "\t")):
        with (folder / f"a.{ending}").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, cells, delimiter=delimiter)
            writer.writeheader()
            writer.writerow(cells)
    return [folder / f"a.{ending}" for ending in ("json", "jsonl", "csv", "tsv")]


IN_TABLES = [(name, record, row) for name, record, row in RECORDS if name not in ("OpenAI preference",)]


@pytest.mark.parametrize(("name", "record", "expected"), IN_TABLES, ids=range(len(IN_TABLES)))
def test_every_format_holds_it(name, record, expected, tmp_path):
    """Tables cannot hold an object, nor a history of pairs, but as text."""
    for path in with_every_format(record, tmp_path):
        if path.suffix in (".csv", ".tsv") and (
            "history" in record or isinstance(record.get("chosen"), dict)
        ):
            continue
        data = open_dataset(path)
        assert data.row(0) == expected, path.suffix
        assert data.shape.name == name


def test_parquet_holds_the_same(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    for at, (name, record, expected) in enumerate(RECORDS):
        path = tmp_path / f"{at}.parquet"
        parquet.write_table(arrow.Table.from_pylist([record] * 5), path, row_group_size=2)
        data = open_dataset(path)
        assert [data.row(index) for index in (4, 0, 3)] == [expected] * 3, name
        assert (len(data), data.place(4), data.format) == (5, "row 5", "Parquet")


def test_parquet_without_its_library_says_what_to_install(tmp_path, monkeypatch):
    import sys

    from fairway.errors import MissingExtra

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1....PAR1")
    with pytest.raises(MissingExtra, match="pyarrow is not installed") as error:
        open_dataset(path)
    assert "fairway[parquet]" in error.value.hint


def test_a_text_file_has_a_row_per_line(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one\n\n[two]\n", "utf-8")
    data = open_dataset(path)
    assert [data.row(0), data.row(1)] == [TextRow("one"), TextRow("[two]")]
    assert (data.place(1), data.format) == ("line 3", "text")


def test_rows_are_found_in_any_order(tmp_path):
    path = tmp_path / "a.jsonl"
    texts = [f"row {at} " + "é" * (at % 7) for at in range(1000)]
    path.write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts), "utf-8")
    data = open_dataset(path)
    assert all(data.row(at) == TextRow(texts[at]) for at in (999, 0, 500, 499, 1, 998))


def test_text_in_a_table_that_looks_like_json_stays_text(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('prompt,completion\nList two,"[1, 2]"\nObject,"{""a"": 1}"\n', "utf-8")
    data = open_dataset(path)
    assert [data.row(at).messages[1].content for at in (0, 1)] == ["[1, 2]", '{"a": 1}']


def test_labels_of_tables(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("prompt,completion,label\na,b,True\na,b,0\na,b,maybe\n", "utf-8")
    data = open_dataset(path)
    assert [data.row(at).label for at in (0, 1)] == [True, False]
    with pytest.raises(Exception, match=r"a\.csv line 4: label is 'maybe'"):
        data.row(2)
