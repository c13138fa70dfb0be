"""Builds a tokenizer from a bare SentencePiece `tokenizer.model`, without the sentencepiece package.

The file is a small protocol buffer; the few fields that matter are read by the tables below. BPE models
(Llama 2, Mistral, Gemma, Phi-3) work; the others need a tokenizer.json.
Source: sentencepiece_model.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from fairway.errors import FormatError, UnsupportedError
from fairway.text.huggingface_tokenizer import MAKE_TOKENIZER_JSON
from fairway.text.spm_tokenizer import Normalizes, SpmOptions, SpmTokenizer, SpmVocabulary, TokenType
from fairway.text.tokenizer import SpecialTokens, Tokenizer

_MODEL_TYPES = {1: "unigram", 2: "BPE", 3: "word", 4: "character"}

# ModelProto
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
# SentencePiece
_TEXT, _SCORE, _TYPE = 1, 2, 3
# TrainerSpec and NormalizerSpec: field -> (name, default)
_TRAINER_FIELDS: dict[int, tuple[str, int]] = {3: ("type", 1), 40: ("unk", 0), 41: ("bos", 1), 42: ("eos", 2)}
_NORMALIZER_FLAGS: dict[int, tuple[str, int]] = {3: ("adds_space", 1), 4: ("collapses", 1)}
_CHARSMAP = 2

T = TypeVar("T", int, bytes)


def load_sentencepiece(raw: bytes, config: Mapping[str, Any], declared: Mapping[str, Any]) -> Tokenizer:
    """`config` is tokenizer_config.json, `declared` its added tokens by id."""
    message = _message(raw)
    entries = [_message(entry) for entry in _many(message, _PIECES, bytes)]
    if not entries:
        raise UnsupportedError("tokenizer.model is not a SentencePiece model.", hint=MAKE_TOKENIZER_JSON)
    trainer = _numbers(_message(_one(message, _TRAINER, b"")), _TRAINER_FIELDS)
    if trainer["type"] != 2:
        kind = _MODEL_TYPES.get(trainer["type"], "unknown")
        raise UnsupportedError(
            f"tokenizer.model has the type {kind}; only BPE is read.", hint=MAKE_TOKENIZER_JSON
        )
    pieces = [_string(_one(entry, _TEXT, b"")) for entry in entries]
    scores = [struct.unpack("<f", struct.pack("<I", _one(entry, _SCORE, 0)))[0] for entry in entries]
    types = [_one(entry, _TYPE, int(TokenType.NORMAL)) for entry in entries]
    _declare(pieces, scores, types, declared)
    vocabulary = SpmVocabulary(pieces, scores, types)
    options = _options(_message(_one(message, _NORMALIZER, b"")), config)
    special = _special(vocabulary, trainer, config)
    return SpmTokenizer(vocabulary, special, options, _valid(trainer["unk"], pieces))


def _declare(pieces: list[str], scores: list[float], types: list[int], declared: Mapping[str, Any]) -> None:
    """Adds or retypes the tokens of tokenizer_config.json; ids must continue the vocabulary."""
    for key, entry in sorted(declared.items(), key=lambda item: int(item[0])):
        token_id, text = int(key), entry["content"]
        kind = int(TokenType.CONTROL if entry.get("special") else TokenType.USER_DEFINED)
        if token_id == len(pieces):
            pieces.append(text)
            scores.append(0.0)
            types.append(kind)
        elif token_id > len(pieces) or pieces[token_id] != text:
            raise FormatError(
                f"The added token {text!r} cannot have id {token_id}: tokenizer.model disagrees."
            )
        elif types[token_id] != TokenType.UNKNOWN:
            types[token_id] = kind


def _special(
    vocabulary: SpmVocabulary, trainer: Mapping[str, int], config: Mapping[str, Any]
) -> SpecialTokens:
    bos, eos = _valid(trainer["bos"], vocabulary.pieces), _valid(trainer["eos"], vocabulary.pieces)
    bos = _named(vocabulary, config.get("bos_token"), bos)
    eos = _named(vocabulary, config.get("eos_token"), eos)
    kinds = (TokenType.CONTROL, TokenType.UNKNOWN)
    return SpecialTokens(
        ids=frozenset(token_id for token_id, kind in enumerate(vocabulary.types) if kind in kinds),
        bos=bos,
        eos=eos,
        prefix=(bos,) if bos is not None and config.get("add_bos_token", True) else (),
        suffix=(eos,) if eos is not None and config.get("add_eos_token", False) else (),
    )


def _named(vocabulary: SpmVocabulary, name: object, default: int | None) -> int | None:
    text = name.get("content") if isinstance(name, Mapping) else name
    return vocabulary.pieces.index(text) if text in vocabulary.pieces else default


def _valid(token_id: int, pieces: Sequence[str]) -> int | None:
    """Protocol buffers write -1 as 2**64 - 1; both mean "none"."""
    return token_id if 0 <= token_id < len(pieces) else None


def _options(normalizer: dict[int, list[Any]], config: Mapping[str, Any]) -> SpmOptions:
    flags = _numbers(normalizer, _NORMALIZER_FLAGS)
    charsmap = _one(normalizer, _CHARSMAP, b"")
    return SpmOptions(
        adds_space=bool(flags["adds_space"]),
        adds_space_after_special=config.get("legacy") is not False,
        collapses_spaces=bool(flags["collapses"]),
        normalizer=_precompiled(charsmap) if charsmap else None,
    )


def _precompiled(charsmap: bytes) -> Normalizes:
    from tokenizers import normalizers

    from fairway.text.fast_tokenizer import library_errors

    with library_errors("The normalization table of tokenizer.model is broken"):
        normalizer: Normalizes = normalizers.Precompiled(charsmap)
    return normalizer


def _numbers(message: dict[int, list[Any]], table: Mapping[int, tuple[str, int]]) -> dict[str, int]:
    return {name: _one(message, number, default) for number, (name, default) in table.items()}


def _message(raw: bytes) -> dict[int, list[Any]]:
    """Field number -> its values: integers for varints and fixed words, bytes for the rest."""
    fields: dict[int, list[Any]] = {}
    for number, value in _fields(raw):
        fields.setdefault(number, []).append(value)
    return fields


def _fields(raw: bytes) -> Iterator[tuple[int, int | bytes]]:
    position = 0
    while position < len(raw):
        tag, position = _varint(raw, position)
        match tag & 7:
            case 0:
                number, position = _varint(raw, position)
                yield tag >> 3, number
                continue
            case 1:
                size = 8
            case 2:
                size, position = _varint(raw, position)
            case 5:
                size = 4
            case other:
                raise FormatError(f"tokenizer.model is broken: wire type {other} at byte {position}.")
        if size > len(raw) - position:
            raise FormatError(f"tokenizer.model is cut off: {size} bytes promised at byte {position}.")
        field = raw[position : position + size]
        position += size
        yield tag >> 3, field if tag & 7 == 2 else int.from_bytes(field, "little")


def _varint(raw: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(raw):
            break
        byte = raw[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise FormatError(f"tokenizer.model is broken: a number does not end at byte {position}.")


def _many(message: dict[int, list[Any]], number: int, kind: type) -> list[Any]:
    values = message.get(number, [])
    if not all(isinstance(value, kind) for value in values):
        raise FormatError(f"tokenizer.model is broken: field {number} is not of the expected type.")
    return values


def _one(message: dict[int, list[Any]], number: int, default: T) -> T:
    values: list[T] = _many(message, number, type(default))
    return values[-1] if values else default


def _string(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError("tokenizer.model holds a piece that is not UTF-8.") from error
