"""Builds a tokenizer from a GGUF file's `tokenizer.*` metadata.

Three vocabularies exist: "llama" (SentencePiece scores), "gpt2" (byte-level BPE with merges) and "bert"
(WordPiece). Absent keys take llama.cpp's defaults (llama-vocab.cpp), since that is what the files' authors
tested with. Every list is checked against the vocabulary's length before it is used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

from fairway.errors import FormatError, UnsupportedError
from fairway.text.fast_tokenizer import FastTokenizer
from fairway.text.pieces import BYTE_LEVEL, SPACE_MARK, WORDPIECE, Spelling
from fairway.text.pretokenizers import pre_tokenizer
from fairway.text.spm_tokenizer import SpmOptions, SpmTokenizer, SpmVocabulary, TokenType
from fairway.text.tokenizer import SpecialTokens, Tokenizer
from fairway.text.vocabularies import add_tokens, byte_pair_backend, parse_merges, word_piece_backend

# End-of-turn and fill-in markers that some files list as ordinary pieces; always control tokens.
_CONTROL_LOOKING = frozenset(
    (
        *("<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>"),
        *("<EOT>", "[EOT]", "<|eom_id|>", "<｜end▁of▁sentence｜>"),
        *("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_pad|>"),
    )
)


def load_gguf(metadata: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that `tokenizer.ggml.model` names."""
    fields = _Fields(metadata)
    kind = fields.string("model")
    match kind:
        case "llama":
            return _spm(fields)
        case "gpt2":
            return _byte_pairs(fields)
        case "bert":
            return _word_pieces(fields)
        case None:
            raise FormatError("The GGUF file has no tokenizer (tokenizer.ggml.model is missing).")
    raise UnsupportedError(
        f"The GGUF file's tokenizer is of type {kind!r}, which Fairway does not have (llama, gpt2, bert).",
        hint="Use the model's Hugging Face folder (tokenizer.json) instead.",
    )


class _Fields:
    """The `tokenizer.ggml.*` values, each checked for its type when asked for."""

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        self._metadata = metadata
        self.pieces = self._pieces()
        self.types = self._types()

    def _get(self, key: str) -> Any:  # noqa: ANN401 (checked by the callers)
        return self._metadata.get(f"tokenizer.ggml.{key}")

    def string(self, key: str) -> str | None:
        value = self._get(key)
        if value is not None and not isinstance(value, str):
            raise FormatError(f"tokenizer.ggml.{key} must be a string, not {type(value).__name__}.")
        return value

    def flag(self, key: str, default: bool) -> bool:
        value = self._get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise FormatError(f"tokenizer.ggml.{key} must be true or false, not {value!r}.")
        return value

    def token_id(self, key: str, default: int | None = None) -> int | None:
        """An id that the vocabulary has; files that state others exist, and then it counts as absent."""
        value = self._get(f"{key}_token_id")
        if value is None:
            value = default
        valid = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(self.pieces)
        return value if valid else None

    def list_of(self, key: str, kinds: tuple[type, ...]) -> list[Any] | None:
        value = self._get(key)
        if value is None:
            return None
        try:
            values = list(value.tolist() if hasattr(value, "tolist") else value)
        except TypeError:
            raise FormatError(f"tokenizer.ggml.{key} must be a list, not {type(value).__name__}.") from None
        wrong = [item for item in values if not isinstance(item, kinds)]
        if wrong or isinstance(value, str):
            example = str(wrong[0] if wrong else value)[:40]
            raise FormatError(f"tokenizer.ggml.{key} holds a value of the wrong type: {example!r}.")
        return values

    def _pieces(self) -> list[str]:
        pieces = self.list_of("tokens", (str,))
        if not pieces:
            if self._get("model") is None:
                return []
            raise FormatError("The GGUF file's vocabulary (tokenizer.ggml.tokens) is missing or empty.")
        return [piece or f"[EMPTY_{token_id}]" for token_id, piece in enumerate(pieces)]

    def _types(self) -> list[int]:
        types = self.list_of("token_type", (int,))
        if types is None:
            types = [int(TokenType.NORMAL)] * len(self.pieces)
        self._require_length("token_type", types)
        for token_id, piece in enumerate(self.pieces):
            if piece in _CONTROL_LOOKING and types[token_id] == TokenType.NORMAL:
                types[token_id] = int(TokenType.CONTROL)
        return types

    def scores(self) -> list[float]:
        scores = self.list_of("scores", (float, int))
        if scores is None:
            scores = [0.0] * len(self.pieces)
        self._require_length("scores", scores)
        if any(math.isnan(score) for score in scores):
            raise FormatError("tokenizer.ggml.scores holds a value that is not a number.")
        return scores

    def _require_length(self, key: str, values: list[Any]) -> None:
        if len(values) != len(self.pieces):
            raise FormatError(f"tokenizer.ggml.{key} has {len(values)} values for {len(self.pieces)} tokens.")

    def ids_of_type(self, *types: TokenType) -> frozenset[int]:
        return frozenset(token_id for token_id, kind in enumerate(self.types) if kind in types)

    def special(self, bos: int | None, eos: int | None, *, adds_bos: bool, adds_eos: bool) -> SpecialTokens:
        """Unknown counts as special: it stands for text that is not there."""
        return SpecialTokens(
            ids=self.ids_of_type(TokenType.CONTROL, TokenType.UNKNOWN),
            bos=bos,
            eos=eos,
            prefix=(bos,) if bos is not None and adds_bos else (),
            suffix=(eos,) if eos is not None and adds_eos else (),
        )


def _spm(fields: _Fields) -> Tokenizer:
    vocabulary = SpmVocabulary(fields.pieces, fields.scores(), fields.types)
    special = fields.special(
        fields.token_id("bos", 1),
        fields.token_id("eos", 2),
        adds_bos=fields.flag("add_bos_token", True),
        adds_eos=fields.flag("add_eos_token", False),
    )
    options = SpmOptions(
        adds_space=fields.flag("add_space_prefix", True), swallows_space_after=_phi3_swallowing(fields)
    )
    return SpmTokenizer(vocabulary, special, options, fields.token_id("unknown", 0))


def _phi3_swallowing(fields: _Fields) -> frozenset[int]:
    """Phi-3's role markers eat the white space behind them. GGUF cannot say so; the tokens tell."""
    whole = fields.ids_of_type(TokenType.CONTROL, TokenType.USER_DEFINED)
    ids = {fields.pieces[token_id]: token_id for token_id in whole}
    if "<|assistant|>" not in ids or "<|placeholder1|>" not in ids:
        return frozenset()
    keep = {"<unk>", "<s>", "<|endoftext|>", "<|system|>", "<|end|>", "<|user|>"}
    return frozenset(token_id for piece, token_id in ids.items() if piece not in keep)


def _byte_pairs(fields: _Fields) -> Tokenizer:
    words = pre_tokenizer(fields.string("pre") or "default")
    merges = fields.list_of("merges", (str,))
    if merges is None:
        raise FormatError("The GGUF file's vocabulary has no merges (tokenizer.ggml.merges).")
    backend = byte_pair_backend(_ids_of(fields.pieces), parse_merges(merges), words)
    special = fields.special(
        fields.token_id("bos"),
        fields.token_id("eos"),
        adds_bos=fields.flag("add_bos_token", words.adds_bos),
        adds_eos=fields.flag("add_eos_token", words.adds_eos),
    )
    return _with_specials(backend, fields, special, BYTE_LEVEL)


def _word_pieces(fields: _Fields) -> Tokenizer:
    """GGUF writes "▁word" and "ing" where BERT writes "word" and "##ing"."""
    pieces = [_bert_piece(piece, kind) for piece, kind in zip(fields.pieces, fields.types, strict=True)]
    unknown = fields.token_id("unknown", 100)
    if unknown is None:
        raise FormatError("The GGUF file names no token for unknown words (tokenizer.ggml.unknown_token_id).")
    cased = any(piece != piece.lower() for piece in pieces if not piece.startswith("["))
    backend = word_piece_backend(_ids_of(pieces), pieces[unknown], lowercase=not cased)
    cls = fields.token_id("bos", fields.token_id("cls", 101))
    sep = fields.token_id("seperator", fields.token_id("separator", fields.token_id("eos", 102)))
    special = fields.special(
        cls, sep, adds_bos=fields.flag("add_bos_token", True), adds_eos=fields.flag("add_sep_token", True)
    )
    return _with_specials(backend, fields, special, WORDPIECE)


def _bert_piece(piece: str, kind: int) -> str:
    if kind != TokenType.NORMAL or (piece.startswith("[") and piece.endswith("]") and len(piece) > 2):
        return piece
    return piece[1:] if piece.startswith(SPACE_MARK) else f"##{piece}"


def _with_specials(
    backend: Backend, fields: _Fields, special: SpecialTokens, spelling: Spelling
) -> Tokenizer:
    whole = sorted(special.ids | fields.ids_of_type(TokenType.USER_DEFINED))
    tokens = [AddedToken(fields.pieces[i], special=i in special.ids, normalized=False) for i in whole]
    add_tokens(backend, tokens)
    return FastTokenizer(backend, spelling, special)


def _ids_of(pieces: list[str]) -> dict[str, int]:
    ids = {piece: token_id for token_id, piece in enumerate(pieces)}
    if len(ids) != len(pieces):
        twice = next(piece for token_id, piece in enumerate(pieces) if ids[piece] != token_id)
        raise FormatError(f"The GGUF file's vocabulary holds {twice[:40]!r} twice.")
    return ids
