"""The syntax of Ollama's Modelfile, both ways."""
# ruff: noqa: E501 (tables)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairway.errors import FormatError
from fairway.formats.modelfile import (
    NAMES,
    ROLES,
    Instruction,
    Modelfile,
    modelfile_text,
    parse_modelfile,
    read_modelfile,
)

EXAMPLE = '''# A comment, then a model
from ./model.gguf
  PARAMETER temperature 0.5
Parameter STOP "<|end|>"
PARAMETER stop <|im_end|>
TEMPLATE """{{ if .System }}"{{ .System }}"
{{ end }}{{ .Prompt }}"""
SYSTEM "You are
kind."
# PARAMETER top_k 1
MESSAGE user Hello there
MESSAGE assistant """Hi"""
LICENSE  MIT\t
ADAPTER ./lora.gguf
REQUIRES 0.14.0
'''


def test_every_instruction_is_read():
    modelfile = parse_modelfile(EXAMPLE)
    assert modelfile.last("from") == "./model.gguf"
    assert modelfile.parameters == {"temperature": ["0.5"], "stop": ["<|end|>", "<|im_end|>"]}
    assert modelfile.last("template") == '{{ if .System }}"{{ .System }}"\n{{ end }}{{ .Prompt }}'
    assert modelfile.last("system") == "You are\nkind."
    assert modelfile.messages == (("user", "Hello there"), ("assistant", "Hi"))
    assert [modelfile.last(name) for name in ("license", "adapter", "requires")] == [
        "MIT",
        "./lora.gguf",
        "0.14.0",
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_system_are_read(end):
    text = end.join(["# note", "FROM a", 'SYSTEM """one', 'two"""', "PARAMETER top_k 3"])
    modelfile = parse_modelfile(text)
    assert (modelfile.last("from"), modelfile.last("system")) == ("a", f"one{end}two")
    assert modelfile.parameters == {"top_k": ["3"]}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ('""', ""), ('""""""', ""), ('"a"', "a"), ('"""a"""', "a"), ("a b ", "a b"), ('a "b"', 'a "b"'),
        ('"a" b"', 'a" b'), ('""""a"""', '"a'), ('"""a""""', 'a"'), ("'a'", "'a'"), ('"a"  ', "a"), ("", ""),
    ],
)  # fmt: skip
def test_quotes(written, value):
    modelfile = parse_modelfile(f"FROM x\nSYSTEM {written}\nPARAMETER seed 1\n")
    assert (modelfile.last("system"), modelfile.parameters) == (value, {"seed": ["1"]})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has no FROM"), ("SYSTEM x", "has no FROM"), ("FROM a\nRUN ls", "line 2.*'RUN ls' is no instruction"),
        ("FROM", "FROM has no value"), ("FROM\n", "FROM has no value"), ("FROM a\nPARAMETER\n", "no value"),
        ("FROM a\nPARAMETER - 1\n", "a parameter's name"), ("FROM a\nPARAMETER x\n", "PARAMETER X has no value"),
        ("FROM a\nMESSAGE robot x", "a role"), ('FROM a\nSYSTEM """x\ny', "line 2.*has no end"),
        ('FROM a\nSYSTEM "x', "has no end"), ("FROM a\n\x00", "is no instruction"), ("F\nROM a", "is no instruction"),
        ("FROM a\n" + "PARAMETER stop x\n" * 10_001, "more than 10000 instructions"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(text, reason):
    with pytest.raises(FormatError, match=reason):
        parse_modelfile(text)


def test_files_are_read_in_the_encodings_of_windows_too(tmp_path):
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path = tmp_path / encoding
        path.write_bytes("FROM größe\n".encode(encoding))
        assert read_modelfile(path).last("from") == "größe"
    (tmp_path / "x").write_bytes(b"FROM a\xff\n")
    with pytest.raises(FormatError, match="not text at byte 6"):
        read_modelfile(tmp_path / "x")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(9 << 20)
    with pytest.raises(FormatError, match="at most"):
        read_modelfile(tmp_path / "huge")


def test_a_megabyte_of_open_quotes_is_read_in_one_pass():
    lines = 'x "\n' * 300_000
    assert parse_modelfile(f'FROM a\nSYSTEM """{lines}"""\n').last("system") == lines


VALUES = st.one_of(
    st.text(max_size=30),
    st.lists(st.sampled_from(['"', '""', '"""', "\n", " ", "a", "#", "\\", "{{ .Prompt }}", "FROM x", "\r"]), max_size=12).map("".join),
)  # fmt: skip
KEYS = {"parameter": st.from_regex(r"[A-Za-z0-9_]{1,12}", fullmatch=True), "message": st.sampled_from(ROLES)}


@st.composite
def instructions(draw):
    name = draw(st.sampled_from(sorted(NAMES)))
    return Instruction(name, draw(VALUES), draw(KEYS[name]) if name in KEYS else "")


@given(st.lists(instructions(), max_size=8))
def test_what_is_written_reads_back_the_same(listed):
    modelfile = Modelfile((Instruction("from", "./model.gguf"), *listed))
    try:
        text = modelfile_text(modelfile)
    except FormatError as error:
        assert "three quotation marks" in str(error)
        assert any('"' in each.value and ("\n" in each.value or "\r" in each.value) for each in listed)
        return
    assert parse_modelfile(text) == modelfile


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_in_one_sentence(text):
    try:
        parse_modelfile(f"FROM a\n{text}")
    except FormatError as error:
        assert "\n" not in str(error)
