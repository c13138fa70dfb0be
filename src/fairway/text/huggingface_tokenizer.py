"""Builds a tokenizer from a Hugging Face folder's files.

tokenizer.json is the whole truth where it exists; older folders have vocab.json + merges.txt, vocab.txt
or a SentencePiece tokenizer.model, and tokenizer_config.json names their class. What goes around a text
is read from the post-processor once, so that `encode` can keep a prompt from beginning twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

from fairway.errors import FormatError, UnsupportedError
from fairway.text.fast_tokenizer import FastTokenizer, library_errors
from fairway.text.pieces import BYTE_LEVEL, WORDPIECE, Spelling, spelling_of_decoder
from fairway.text.pretokenizers import pre_tokenizer
from fairway.text.tokenizer import SpecialTokens, Tokenizer
from fairway.text.tokenizer_files import (
    parse_declared,
    read_bytes,
    read_object_if_present,
    read_text,
    read_vocabulary,
)
from fairway.text.vocabularies import add_tokens, byte_pair_backend, parse_merges, word_piece_backend

MAKE_TOKENIZER_JSON = (
    "Write a tokenizer.json with transformers: "
    'AutoTokenizer.from_pretrained("FOLDER").save_pretrained("FOLDER").'
)

_ROLES = ("bos_token", "eos_token", "unk_token", "pad_token", "cls_token", "sep_token", "mask_token")

# tokenizer_class without "Fast" -> (pre-tokenizer, applies NFC, puts CLS and SEP around)
_BYTE_PAIR_CLASSES = {
    "GPT2Tokenizer": ("gpt-2", False, False),
    "CodeGenTokenizer": ("gpt-2", False, False),
    "Qwen2Tokenizer": ("qwen2", True, False),
    "RobertaTokenizer": ("gpt-2", False, True),
    "BartTokenizer": ("gpt-2", False, True),
}


def load_huggingface(files: Mapping[str, Path]) -> Tokenizer:
    """From the files present; the most complete description wins."""
    names = read_object_if_present(files, "special_tokens_map.json")
    config = names | read_object_if_present(files, "tokenizer_config.json")
    if "tokenizer.json" in files:
        return _from_tokenizer_json(files["tokenizer.json"], config)
    if "vocab.json" in files and "merges.txt" in files:
        return _from_byte_pairs(files, config)
    if "vocab.txt" in files:
        return _from_word_pieces(files, config)
    if "tokenizer.model" in files:
        from fairway.text.sentencepiece_tokenizer import load_sentencepiece

        return load_sentencepiece(
            read_bytes(files["tokenizer.model"]), config, _declared_tokens(files, config)
        )
    found = ", ".join(sorted(files)) or "no tokenizer files"
    raise UnsupportedError(
        f"The folder has {found}: no tokenizer that Fairway reads.", hint=MAKE_TOKENIZER_JSON
    )


def _from_tokenizer_json(path: Path, config: Mapping[str, Any]) -> Tokenizer:
    text = read_text(path)
    with library_errors(f"{path} is not a tokenizer.json that can be read"):
        backend = Backend.from_str(text)
        backend.no_truncation()
        backend.no_padding()
        state = {
            name: json.loads(part.__getstate__()) if part is not None else None
            for name, part in (("decoder", backend.decoder), ("post_processor", backend.post_processor))
        }
    _add_declared(backend, config.get("added_tokens_decoder") or {}, path)
    spelling = spelling_of_decoder(state["decoder"])
    return _finish(backend, spelling, config, _around(state["post_processor"]))


def _from_byte_pairs(files: Mapping[str, Path], config: Mapping[str, Any]) -> Tokenizer:
    name = str(config.get("tokenizer_class") or "GPT2Tokenizer").removesuffix("Fast")
    if name not in _BYTE_PAIR_CLASSES:
        raise UnsupportedError(
            f"vocab.json of a {name} cannot be read without a tokenizer.json.", hint=MAKE_TOKENIZER_JSON
        )
    words, composes, surrounds = _BYTE_PAIR_CLASSES[name]
    vocabulary = read_vocabulary(files["vocab.json"])
    lines = [line.rstrip("\r") for line in read_text(files["merges.txt"]).split("\n")]
    merges = parse_merges(line for line in lines if line and not line.startswith("#version"))
    backend = byte_pair_backend(vocabulary, merges, pre_tokenizer(words), composes=composes)
    _add_declared(backend, _declared_tokens(files, config), files["vocab.json"])
    around = (_token_name(config, "cls_token", "<s>"), _token_name(config, "sep_token", "</s>"))
    return _finish(backend, BYTE_LEVEL, config, ([around[0]], [around[1]]) if surrounds else ([], []))


def _from_word_pieces(files: Mapping[str, Path], config: Mapping[str, Any]) -> Tokenizer:
    pieces = [line.rstrip("\r") for line in read_text(files["vocab.txt"]).removesuffix("\n").split("\n")]
    vocabulary = {piece: token_id for token_id, piece in enumerate(pieces)}
    backend = word_piece_backend(
        vocabulary,
        _token_name(config, "unk_token", "[UNK]"),
        lowercase=bool(config.get("do_lower_case", True)),
        strip_accents=config.get("strip_accents"),
    )
    roles = ("cls", "sep", "unk", "pad", "mask")
    names = [_token_name(config, f"{role}_token", f"[{role.upper()}]") for role in roles]
    known = [name for name in names if name in vocabulary]
    add_tokens(backend, [AddedToken(name, special=True, normalized=False) for name in known])
    _add_declared(backend, _declared_tokens(files, config), files["vocab.txt"])
    return _finish(backend, WORDPIECE, config, ([names[0]], [names[1]]))


def _finish(
    backend: Backend, spelling: Spelling, config: Mapping[str, Any], around: tuple[list[str], list[str]]
) -> Tokenizer:
    """Where the post-processor adds nothing, `add_bos_token` and `add_eos_token` may."""
    _add_named(backend, config)
    before = [token_id for name in around[0] if (token_id := backend.token_to_id(name)) is not None]
    after = [token_id for name in around[1] if (token_id := backend.token_to_id(name)) is not None]
    bos = _role_id(backend, config, "bos_token", "cls_token")
    eos = _role_id(backend, config, "eos_token", "sep_token")
    if not before and not after:
        before = [bos] if bos is not None and config.get("add_bos_token") is True else []
        after = [eos] if eos is not None and config.get("add_eos_token") is True else []
    bos = before[0] if bos is None and before else bos
    eos = after[-1] if eos is None and after else eos
    added = backend.get_added_tokens_decoder()
    special = frozenset(token_id for token_id, token in added.items() if token.special)
    return FastTokenizer(backend, spelling, SpecialTokens(special, bos, eos, tuple(before), tuple(after)))


def _around(processor: Mapping[str, Any] | None) -> tuple[list[str], list[str]]:
    """The special tokens that a post-processor puts before and after a single text."""
    match processor:
        case None | {"type": "ByteLevel"}:
            return [], []
        case {"type": "Sequence", "processors": list(parts)}:
            pairs = [_around(part) for part in parts]
            return [*chain(*(pair[0] for pair in reversed(pairs)))], [*chain(*(pair[1] for pair in pairs))]
        case {"type": "BertProcessing" | "RobertaProcessing", "cls": [str(cls), _], "sep": [str(sep), _]}:
            return [cls], [sep]
        case {"type": "TemplateProcessing", "single": list(steps), "special_tokens": dict(tokens)}:
            return _around_template(steps, tokens)
    raise UnsupportedError(
        f"The tokenizer's post-processor is not known: {str(processor)[:200]}.", hint=MAKE_TOKENIZER_JSON
    )


def _around_template(steps: list[Any], tokens: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    before: list[str] = []
    after: list[str] = []
    side = before
    for step in steps:
        if "Sequence" in step:
            side = after
        else:
            name = step["SpecialToken"]["id"]
            side += tokens.get(name, {}).get("tokens", [name])
    return before, after


def _declared_tokens(files: Mapping[str, Path], config: Mapping[str, Any]) -> Mapping[str, Any]:
    """id -> token description, from tokenizer_config.json or the older added_tokens.json."""
    declared = config.get("added_tokens_decoder")
    if isinstance(declared, dict):
        return declared
    roles = {_token_name(config, role, "") for role in config if role.endswith("_token")}
    extra = config.get("additional_special_tokens") or []
    names = roles | {item["content"] if isinstance(item, dict) else item for item in extra}
    added = read_object_if_present(files, "added_tokens.json")
    return {str(token_id): {"content": text, "special": text in names} for text, token_id in added.items()}


def _add_declared(backend: Backend, declared: Mapping[str, Any], path: Path) -> None:
    """Adds the tokens that the vocabulary lacks, in order of their ids, and checks that they got them."""
    tokens = sorted(parse_declared(declared, path).items())
    known = backend.get_added_tokens_decoder()
    add_tokens(backend, [token for token_id, token in tokens if token_id not in known])
    for token_id, token in tokens:
        given = backend.token_to_id(token.content)
        if given != token_id:
            raise FormatError(
                f"The added token {token.content!r} has id {given} in {path.name}, not {token_id}.",
                hint=MAKE_TOKENIZER_JSON,
            )


def _add_named(backend: Backend, config: Mapping[str, Any]) -> None:
    """A piece of the vocabulary that the config names as a role is a control token, as in transformers."""
    known = {token.content for token in backend.get_added_tokens_decoder().values()}
    names = {_token_name(config, role, "") for role in _ROLES} - known
    pieces = sorted(name for name in names if name and backend.token_to_id(name) is not None)
    add_tokens(backend, [AddedToken(name, special=True, normalized=False) for name in pieces])


def _role_id(backend: Backend, config: Mapping[str, Any], *roles: str) -> int | None:
    for role in roles:
        name = _token_name(config, role, "")
        if name and (token_id := backend.token_to_id(name)) is not None:
            return int(token_id)
    return None


def _token_name(config: Mapping[str, Any], role: str, default: str) -> str:
    """A token is named by its text or by a description that holds it."""
    value = config.get(role)
    if isinstance(value, Mapping):
        value = value.get("content")
    return value if isinstance(value, str) else default
