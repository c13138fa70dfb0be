"""How byte-pair models cut text into words before merging, by the name GGUF files use.

A table of facts: the patterns are the models' own (their tokenizer.json), the names and the two flags
those of `tokenizer.ggml.pre` as llama.cpp assigns them (llama-vocab.cpp). A wrong row changes ids
silently, so an unknown name is refused and never guessed.
"""

from __future__ import annotations

from dataclasses import dataclass

from fairway.errors import UnsupportedError


@dataclass(frozen=True)
class PreTokenizer:
    """Patterns applied one after the other; each match, and each piece between matches, is a word."""

    patterns: tuple[str, ...]
    whole_words: bool = False
    """A word that is in the vocabulary is taken as it is, without merging (`ignore_merges`)."""
    adds_bos: bool = False
    adds_eos: bool = False


_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"


def _modern(digits: str) -> str:
    """The pattern that cl100k introduced; models differ in how many digits go together."""
    return rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_SPACES}"


def _cased(digits: str, contractions: str) -> str:
    """The pattern that o200k introduced: capitals begin a new word."""
    start = r"[^\r\n\p{L}\p{N}]?"
    return (
        rf"{start}{_UPPER}*{_LOWER}+{contractions}|{start}{_UPPER}+{_LOWER}*{contractions}"
        rf"|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACES}"
    )


GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_QWEN2 = _modern(r"\p{N}")
_QWEN35 = (
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?[\p{{L}}\p{{M}}]+|\p{{N}}"
    rf"| ?[^\s\p{{L}}\p{{M}}\p{{N}}]+[\r\n]*|{_SPACES}"
)
_LLAMA3 = _modern(r"\p{N}{1,3}")
_DEEPSEEK_V3 = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    rf"| ?[\p{{P}}\p{{S}}]+[\r\n]*|{_SPACES}"
)

_ROWS: list[tuple[str, PreTokenizer]] = [
    (
        "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2",
        PreTokenizer((_LLAMA3,), whole_words=True, adds_bos=True),
    ),
    ("dbrx smaug-bpe glm4 chatglm-bpe", PreTokenizer((_LLAMA3,))),
    ("qwen2 deepseek-r1-qwen megrez stablelm2 hunyuan grok-2 solar-open", PreTokenizer((_QWEN2,))),
    ("qwen35", PreTokenizer((_QWEN35,))),
    ("gpt-2 phi-2 mpt olmo jais trillion granite-docling exaone4 modern-bert", PreTokenizer((GPT2_PATTERN,))),
    ("roberta-bpe jina-v1-en jina-v2-code", PreTokenizer((GPT2_PATTERN,), adds_bos=True, adds_eos=True)),
    ("smollm starcoder refact command-r codeshell exaone minerva-7b", PreTokenizer((r"\p{N}", GPT2_PATTERN))),
    ("tekken", PreTokenizer((_cased(r"\p{N}", ""),), whole_words=True, adds_bos=True)),
    ("gpt-4o llama4", PreTokenizer((_cased(r"\p{N}{1,3}", f"{_CONTRACTIONS}?"),))),
    ("falcon", PreTokenizer((r"[\p{P}\$\+<=>\^~\|`]+", GPT2_PATTERN, "[0-9][0-9][0-9]"))),
    ("deepseek-v3", PreTokenizer((r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+", _DEEPSEEK_V3))),
    (
        "deepseek-coder",
        PreTokenizer((r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥\u0800-一가-\ud7ff]+", r"\p{N}")),
    ),
    ("default", PreTokenizer((r"[\p{P}\$\+<=>\^~\|]+", GPT2_PATTERN, r"\p{N}+", "[0-9][0-9][0-9]"))),
]
PRE_TOKENIZERS = {name: row for names, row in _ROWS for name in names.split()}


def name_of(patterns: tuple[str, ...], *, whole_words: bool) -> str | None:
    """The first name under which GGUF files know such a pre-tokenizer; None where they know none."""
    for names, row in _ROWS:
        if row.patterns == patterns and row.whole_words == whole_words:
            return names.split()[0]
    return None


def pre_tokenizer(name: str) -> PreTokenizer:
    """The row of `name`; `UnsupportedError` names an unknown one."""
    try:
        return PRE_TOKENIZERS[name]
    except KeyError:
        raise UnsupportedError(
            f"The GGUF file asks for the pre-tokenizer {name!r}, which Fairway does not have.",
            hint="Use the model's Hugging Face folder (tokenizer.json) instead. Known: "
            + ", ".join(sorted(PRE_TOKENIZERS)),
        ) from None
