"""A Hugging Face tokenizer as GGUF's `tokenizer.*` metadata: what gguf_tokenizer.py reads, written.

Byte-level BPE becomes "gpt2" with merges and the name of its pre-tokenizer, which its own structure
decides; SentencePiece's BPE becomes "llama" with scores in the order of its merges; uncased BERT's word
pieces become "bert". Whatever GGUF cannot say is refused by name: a tokenizer that nearly fits gives a
model that talks gibberish.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairway.errors import FormatError, UnsupportedError
from fairway.text.fast_tokenizer import FastTokenizer
from fairway.text.loader import Source, load_tokenizer
from fairway.text.pieces import SPACE_MARK
from fairway.text.pretokenizers import GPT2_PATTERN, name_of
from fairway.text.spm_scores import has_all_merges, is_spaced, scores_of, types_of
from fairway.text.spm_tokenizer import SpmTokenizer, TokenType
from fairway.text.tokenizer import Tokenizer
from fairway.text.tokenizer_files import read_object_if_present

PREFIX = "tokenizer.ggml."
KEEP_TEXT = "Keep the model in its Hugging Face folder, or pick one whose tokenizer GGUF can describe."
ISOLATES = (("Isolated", False), ("Removed", True))
"""Behaviour and inversion of a split whose matches are words."""
INCOMPLETE = (
    "The tokenizer's merges came from no SentencePiece scores; GGUF's were made from their order, and "
    "thousands of strings give the same ids."
)
BERT_NORMALIZER = {"clean_text": True, "handle_chinese_chars": True, "strip_accents": True, "lowercase": True}
"""What llama.cpp does to text before it looks for word pieces."""
UNUSED_SCORE = -10_000.0


@dataclass(frozen=True)
class GgufVocabulary:
    """`tokenizer.*` metadata, and what a user should know although the ids are right."""

    metadata: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def gguf_vocabulary(source: Source, num_rows: int, tokenizer: Tokenizer | None = None) -> GgufVocabulary:
    """`num_rows`: of the embedding; ids without a piece become unused tokens. `tokenizer`: if it is loaded.

    Raises `UnsupportedError` for what GGUF cannot describe and `FormatError` for ids beyond the rows.
    """
    if source.kind == "gguf":
        return GgufVocabulary(dict(source.metadata))
    tokenizer = tokenizer or load_tokenizer(source)
    if tokenizer.vocab_size > num_rows:
        raise FormatError(
            f"The tokenizer has ids up to {tokenizer.vocab_size - 1:,}, the embedding has {num_rows:,} rows.",
            hint="Tokens were added without resizing the model: use the tokenizer that belongs to it.",
        )
    notes: tuple[str, ...] = ()
    if isinstance(tokenizer, SpmTokenizer):
        found = _from_spm(tokenizer, num_rows)
    elif isinstance(tokenizer, FastTokenizer):
        found, notes = _from_description(tokenizer.describe(), num_rows)
    else:
        raise UnsupportedError("GGUF has no place for this kind of tokenizer.", hint=KEEP_TEXT)
    config = read_object_if_present(source.files, "tokenizer_config.json")
    metadata = found | _roles(tokenizer, config) | _around(tokenizer)
    if found["model"] == "bert":
        metadata |= {"seperator_token_id": tokenizer.eos_token_id, "add_sep_token": tokenizer.adds_eos}
    return GgufVocabulary({PREFIX + key: value for key, value in metadata.items()}, notes)


def _around(tokenizer: Tokenizer) -> dict[str, Any]:
    """Whether BOS and EOS are put around a text; nothing else can be."""
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    put = tokenizer.encode("", add_special_tokens=True)
    expected = [bos] * tokenizer.adds_bos + [eos] * tokenizer.adds_eos
    if put != expected:
        texts = " ".join(tokenizer.token_text(each) for each in put)
        raise UnsupportedError(
            f"The tokenizer puts {texts} around a text, which GGUF cannot say.", hint=KEEP_TEXT
        )
    return {"add_bos_token": tokenizer.adds_bos, "add_eos_token": tokenizer.adds_eos}


def _roles(tokenizer: Tokenizer, config: Mapping[str, Any]) -> dict[str, Any]:
    """Ids with a meaning, under GGUF's names for them."""
    ids: dict[str, Any] = {"bos": tokenizer.bos_token_id, "eos": tokenizer.eos_token_id}
    for key, role in (("padding", "pad_token"), ("unknown", "unk_token"), ("mask", "mask_token")):
        stated = config.get(role)
        text = stated.get("content") if isinstance(stated, Mapping) else stated
        ids[key] = tokenizer.token_id(text) if isinstance(text, str) else None
    return {f"{key}_token_id": token_id for key, token_id in ids.items() if token_id is not None}


def _from_spm(tokenizer: SpmTokenizer, num_rows: int) -> dict[str, Any]:
    """A tokenizer.model: its own pieces, scores and types."""
    options = tokenizer.options
    if options.normalizer is not None or options.collapses_spaces:
        raise UnsupportedError("The tokenizer normalises text, which GGUF cannot say.", hint=KEEP_TEXT)
    vocabulary = tokenizer.vocabulary
    found = _spm_fields(
        list(vocabulary.pieces), [float(each) for each in vocabulary.scores], list(vocabulary.types), num_rows
    )
    unknown = {} if tokenizer.unknown_id is None else {"unknown_token_id": tokenizer.unknown_id}
    return found | unknown | {"add_space_prefix": options.adds_space}


def _spm_fields(pieces: list[str], scores: list[float], types: list[int], num_rows: int) -> dict[str, Any]:
    unused = _unused(pieces, num_rows)
    return {
        "model": "llama",
        "pre": "default",
        "tokens": [*pieces, *unused],
        "scores": [*scores, *[UNUSED_SCORE] * len(unused)],
        "token_type": [int(kind) for kind in types] + [int(TokenType.UNUSED)] * len(unused),
    }


def _unused(pieces: list[str], num_rows: int) -> list[str]:
    """Names for the rows behind the vocabulary."""
    taken = set(pieces)
    names = (f"[PAD{token_id}]" for token_id in range(len(pieces), num_rows))
    return [name if name not in taken else f"[UNUSED_{name}]" for name in names]


def _from_description(state: Mapping[str, Any], num_rows: int) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A tokenizer.json."""
    model = state.get("model") or {}
    if model.get("type") == "WordPiece":
        return _word_pieces(state, _pieces(model["vocab"], state.get("added_tokens") or [], num_rows)), ()
    if model.get("type") != "BPE":
        raise UnsupportedError(
            f"The tokenizer is a {str(model.get('type'))[:40]} model; GGUF is written for BPE and WordPiece.",
            hint="Convert it with --to safetensors, onnx or openvino, which keep the tokenizer as it is.",
        )
    if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix") or model.get("dropout"):
        raise UnsupportedError("The tokenizer marks parts of words, which GGUF cannot say.", hint=KEEP_TEXT)
    pieces = _pieces(model["vocab"], state.get("added_tokens") or [], num_rows)
    if is_spaced(state):
        return _spm_of(state, pieces)
    return _byte_pairs(state, pieces)


@dataclass(frozen=True)
class _Pieces:
    """One entry for each row of the embedding; None where nothing has that id."""

    texts: list[str | None]
    added: Mapping[int, bool]
    """Id of an added token -> whether it is special."""

    def names(self) -> list[str]:
        taken = {text for text in self.texts if text is not None}
        spare = (f"[PAD{token_id}]" for token_id in range(len(self.texts)))
        return [
            text if text is not None else (name if name not in taken else f"[UNUSED_{name}]")
            for text, name in zip(self.texts, spare, strict=True)
        ]

    def types(self) -> list[int]:
        return [
            int(TokenType.UNUSED)
            if text is None
            else int(TokenType.CONTROL if self.added[token_id] else TokenType.USER_DEFINED)
            if token_id in self.added
            else int(TokenType.NORMAL)
            for token_id, text in enumerate(self.texts)
        ]


def _pieces(vocabulary: Mapping[str, int], added: list[Mapping[str, Any]], num_rows: int) -> _Pieces:
    texts: list[str | None] = [None] * num_rows
    for text, token_id in vocabulary.items():
        texts[token_id] = text
    for token in added:
        texts[token["id"]] = token["content"]
    return _Pieces(texts, {token["id"]: bool(token["special"]) for token in added})


def _byte_pairs(state: Mapping[str, Any], pieces: _Pieces) -> tuple[dict[str, Any], tuple[str, ...]]:
    model = state["model"]
    notes = _check_normalizer(state.get("normalizer"))
    patterns = patterns_of(state.get("pre_tokenizer"))
    name = name_of(patterns, whole_words=bool(model.get("ignore_merges"))) if patterns else None
    if name is None:
        raise UnsupportedError(
            "The tokenizer cuts text into words in a way that no GGUF pre-tokenizer does: "
            f"{str(state.get('pre_tokenizer'))[:200]}.",
            hint=KEEP_TEXT,
        )
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    fields = {"model": "gpt2", "pre": name, "tokens": pieces.names(), "token_type": pieces.types()}
    return fields | {"merges": merges}, notes


def _word_pieces(state: Mapping[str, Any], pieces: _Pieces) -> dict[str, Any]:
    """BERT's: "word" becomes "▁word", and "##ing" becomes "ing"."""
    model, normalizer = state["model"], dict(state.get("normalizer") or {})
    if normalizer.get("strip_accents") is None:
        normalizer["strip_accents"] = normalizer.get("lowercase")
    is_berts = (state.get("pre_tokenizer") or {}).get("type") == "BertPreTokenizer"
    if not is_berts or normalizer != {"type": "BertNormalizer"} | BERT_NORMALIZER:
        raise UnsupportedError(
            "The tokenizer prepares text for its word pieces otherwise than uncased BERT, as GGUF does: "
            f"{str(state.get('normalizer'))[:200]}.",
            hint=KEEP_TEXT,
        )
    prefix = model.get("continuing_subword_prefix") or ""
    names, types = pieces.names(), pieces.types()
    spelled = [_word_piece(name, kind, prefix) for name, kind in zip(names, types, strict=True)]
    fields = {"model": "bert", "pre": "default", "tokens": spelled, "token_type": types}
    return fields | {"unknown_token_id": model["vocab"][model["unk_token"]]}


def _word_piece(name: str, kind: int, prefix: str) -> str:
    if kind != TokenType.NORMAL or (name.startswith("[") and name.endswith("]")):
        return name
    return name.removeprefix(prefix) if name.startswith(prefix) else SPACE_MARK + name


def _check_normalizer(normalizer: Mapping[str, Any] | None) -> tuple[str, ...]:
    """NFC is left to the caller, as llama.cpp does for Qwen; anything else would change ids."""
    steps = _steps(normalizer, "normalizers")
    if all(step.get("type") == "NFC" for step in steps):
        note = "GGUF cannot say that text is brought into Unicode's NFC first; almost all text already is."
        return (note,) if steps else ()
    raise UnsupportedError(
        f"The tokenizer normalises text, which GGUF cannot say: {str(normalizer)[:200]}.", hint=KEEP_TEXT
    )


def patterns_of(pre_tokenizer: Mapping[str, Any] | None) -> tuple[str, ...] | None:
    """The patterns that a byte-level pre-tokenizer cuts by, one after the other; None for another kind."""
    patterns: list[str] = []
    is_byte_level = False
    for step in _steps(pre_tokenizer, "pretokenizers"):
        match step:
            case {
                "type": "Split",
                "pattern": {"Regex": str(pattern)},
                "behavior": behavior,
                "invert": invert,
            }:
                if (behavior, invert) not in (("Isolated", False), ("Removed", True)):
                    return None
                patterns.append(pattern)
            case {"type": "Digits", "individual_digits": bool(individual)}:
                patterns.append(r"\p{N}" if individual else r"\p{N}+")
            case {"type": "Punctuation", "behavior": "Contiguous"}:
                patterns.append(r"[\p{P}\$\+<=>\^~\|`]+")
            case {"type": "ByteLevel", "add_prefix_space": False}:
                is_byte_level = True
                patterns += [GPT2_PATTERN] if step.get("use_regex", True) else []
            case _:
                return None
    return tuple(patterns) if is_byte_level else None


def _steps(part: Mapping[str, Any] | None, key: str) -> list[Mapping[str, Any]]:
    if part is None:
        return []
    if part.get("type") == "Sequence":
        return [step for each in part.get(key, []) for step in _steps(each, key)]
    return [part]


def _spm_of(state: Mapping[str, Any], pieces: _Pieces) -> tuple[dict[str, Any], tuple[str, ...]]:
    model = state["model"]
    names, spaced = pieces.names(), is_spaced(state)
    types = types_of(pieces.types(), names, model)
    merges = [tuple(each.split(" ")) if isinstance(each, str) else tuple(each) for each in model["merges"]]
    found = _spm_fields(names, scores_of(names, merges), types, len(names))
    unknown = model["vocab"].get(model.get("unk_token"))
    found |= {} if unknown is None else {"unknown_token_id": unknown}
    notes = () if has_all_merges(names, types, set(merges)) else (INCOMPLETE,)
    return found | {"add_space_prefix": spaced == "always"}, notes
