"""Each row of the table compiles and cuts a telling line as its model does."""

import pytest
from tokenizers import Regex, pre_tokenizers

from fairway.text.pretokenizers import PRE_TOKENIZERS, pre_tokenizer

LINE = "Don't WE'LL 12345 x=1;\n\n  y 中文ok"
DIGITS = [" ", "1", "2", "3", "4", "5"]
END = [" x", "=", "1", ";\n\n", " ", " y", " 中文ok"]
WORDS = {
    "gpt-2": ["Don", "'t", " WE", "'", "LL", " 12345", " x", "=", "1", ";", "\n\n ", " y", " 中文ok"],
    "smollm": ["Don", "'t", " WE", "'", "LL", *DIGITS, " x", "=", "1", ";", "\n\n ", " y", " 中文ok"],
    "llama-bpe": ["Don", "'t", " WE", "'LL", " ", "123", "45", *END],
    "qwen2": ["Don", "'t", " WE", "'LL", *DIGITS, *END],
    "tekken": ["Don", "'t", " WE", "'LL", *DIGITS, *END],
    "gpt-4o": ["Don't", " WE'LL", " ", "123", "45", *END],
    "deepseek-v3": ["Don", "'t", " WE", "'LL", " ", "123", "45", *END[:-1], " ", "中文", "ok"],
}


def cut(name: str, text: str) -> list[str]:
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in pre_tokenizer(name).patterns]
    return [word for word, _ in pre_tokenizers.Sequence(splits).pre_tokenize_str(text)]


@pytest.mark.parametrize("name", WORDS)
def test_words_of_a_telling_line(name: str) -> None:
    assert cut(name, LINE) == WORDS[name]


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
def test_every_pattern_compiles_and_loses_nothing(name: str) -> None:
    assert "".join(cut(name, LINE * 3)) == LINE * 3


def test_the_families_of_the_issue_are_there() -> None:
    needed = {
        "llama-bpe",
        "qwen2",
        "gpt-2",
        "default",
        "smollm",
        "olmo",
        "dbrx",
        "phi-2",
        "refact",
        "starcoder",
    }
    assert needed | {"tekken", "deepseek-v3", "deepseek-coder", "deepseek-r1-qwen"} <= set(PRE_TOKENIZERS)
