"""A GGUF file's tokenizer as a Hugging Face folder has it: tokenizer.json and tokenizer_config.json.

The way back of gguf_vocabulary.py. SentencePiece's scores become merges: every way to make each piece, best
score first, which is what transformers' own conversion writes. Whoever uses the result compares ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairway.errors import UnsupportedError
from fairway.text.fast_tokenizer import FastTokenizer
from fairway.text.gguf_tokenizer import load_gguf
from fairway.text.pieces import SPACE_MARK
from fairway.text.spm_scores import PREPENDS, REPLACES
from fairway.text.spm_tokenizer import SpmTokenizer, TokenType
from fairway.text.tokenizer import Tokenizer

PLAIN = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
WHOLE = (TokenType.CONTROL, TokenType.UNKNOWN, TokenType.USER_DEFINED)
ROLES = {"pad_token": "padding_token_id", "unk_token": "unknown_token_id", "mask_token": "mask_token_id"}


def huggingface_files(
    metadata: Mapping[str, Any], template: str | None, context: int | None
) -> dict[str, dict[str, Any]]:
    """File name -> its JSON. Raises `UnsupportedError` for a vocabulary that has no such files."""
    tokenizer = load_gguf(metadata)
    if isinstance(tokenizer, SpmTokenizer):
        description = _from_spm(tokenizer)
    elif isinstance(tokenizer, FastTokenizer) and metadata.get("tokenizer.ggml.model") == "gpt2":
        description = tokenizer.describe() | {"decoder": BYTE_LEVEL}
    else:
        raise UnsupportedError(
            f"The GGUF file's tokenizer {metadata.get('tokenizer.ggml.model')!r} cannot be written as a "
            "tokenizer.json yet.",
            hint="Take the tokenizer of the original model.",
        )
    description["post_processor"] = _around(tokenizer)
    return {
        "tokenizer.json": description,
        "tokenizer_config.json": _config(tokenizer, metadata, template, context),
    }


def _config(
    tokenizer: Tokenizer, metadata: Mapping[str, Any], template: str | None, context: int | None
) -> dict[str, Any]:
    ids = {"bos_token": tokenizer.bos_token_id, "eos_token": tokenizer.eos_token_id}
    for role, key in ROLES.items():
        value = metadata.get(f"tokenizer.ggml.{key}")
        ids[role] = value if type(value) is int and 0 <= value < tokenizer.vocab_size else None
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "add_bos_token": tokenizer.adds_bos,
        "add_eos_token": tokenizer.adds_eos,
    }
    config |= {role: tokenizer.token_text(each) for role, each in ids.items() if each is not None}
    if context:
        config["model_max_length"] = context
    return config | ({"chat_template": template} if template else {})


def _around(tokenizer: Tokenizer) -> dict[str, Any] | None:
    """The post-processor that puts BOS and EOS where the tokenizer does."""
    if not (tokenizer.adds_bos or tokenizer.adds_eos):
        return None
    before = [tokenizer.bos_token_id] * tokenizer.adds_bos
    after = [tokenizer.eos_token_id] * tokenizer.adds_eos
    names = {each: tokenizer.token_text(each) for each in (*before, *after) if each is not None}

    def steps(sequence: str, type_id: int) -> list[dict[str, Any]]:
        text = {"Sequence": {"id": sequence, "type_id": type_id}}
        first, last = (
            [{"SpecialToken": {"id": names[each], "type_id": type_id}} for each in ids if each is not None]
            for ids in (before, after)
        )
        return [*first, text, *last]

    tokens = {name: {"id": name, "ids": [each], "tokens": [name]} for each, name in names.items()}
    pair = [*steps("A", 0), *steps("B", 1)]
    return {"type": "TemplateProcessing", "single": steps("A", 0), "pair": pair, "special_tokens": tokens}


def _from_spm(tokenizer: SpmTokenizer) -> dict[str, Any]:
    vocabulary, spaced = tokenizer.vocabulary, tokenizer.options.adds_space
    pieces, types = list(vocabulary.pieces), list(vocabulary.types)
    ids = {piece: token_id for token_id, piece in enumerate(pieces)}
    has_bytes = TokenType.BYTE in types
    unknown = tokenizer.unknown_id if tokenizer.unknown_id is not None else None
    model = {
        "type": "BPE", "dropout": None, "unk_token": None if unknown is None else pieces[unknown],
        "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": True,
        "byte_fallback": has_bytes, "ignore_merges": False, "vocab": ids,
        "merges": _merges(pieces, vocabulary.scores, types),
    }  # fmt: skip
    swallowing = tokenizer.options.swallows_space_after
    added = [
        {"id": token_id, "content": pieces[token_id], **PLAIN, "rstrip": token_id in swallowing}
        | {"special": kind != TokenType.USER_DEFINED}
        for token_id, kind in enumerate(types)
        if kind in WHOLE
    ]
    steps = [PREPENDS, REPLACES] if spaced else [REPLACES]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": steps},
        "pre_tokenizer": None,
        "decoder": _decoder(spaced),
        "model": model,
    }


def _decoder(spaced: bool) -> dict[str, Any]:
    spaces = {"type": "Replace", "pattern": {"String": SPACE_MARK}, "content": " "}
    steps: list[dict[str, Any]] = [spaces, {"type": "ByteFallback"}, {"type": "Fuse"}]
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    return {"type": "Sequence", "decoders": [*steps, strip] if spaced else steps}


def _merges(pieces: list[str], scores: Any, types: list[int]) -> list[list[str]]:  # noqa: ANN401
    """Every two pieces that make a third, in the order in which SentencePiece would join them."""
    known = set(pieces)
    normal = [i for i, kind in enumerate(types) if kind == TokenType.NORMAL and len(pieces[i]) > 1]
    normal.sort(key=lambda i: (-scores[i], i))
    return [
        [pieces[i][:cut], pieces[i][cut:]]
        for i in normal
        for cut in range(1, len(pieces[i]))
        if pieces[i][:cut] in known and pieces[i][cut:] in known
    ]
