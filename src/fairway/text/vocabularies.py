"""Builds the `tokenizers` library's models from plain vocabularies: byte-level BPE and WordPiece.

Used where a model brings tables and no tokenizer.json: GGUF metadata, vocab.json + merges.txt,
vocab.txt. The tables are checked here first, because the library's own answers name no token.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tokenizers import AddedToken, Regex, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Backend

from fairway.errors import FormatError
from fairway.text.fast_tokenizer import library_errors
from fairway.text.pretokenizers import PreTokenizer


def byte_pair_backend(
    vocabulary: Mapping[str, int],
    merges: Sequence[tuple[str, str]],
    words: PreTokenizer,
    *,
    composes: bool = False,
) -> Backend:
    """Byte-level BPE. `composes` applies Unicode NFC first, as Qwen's Hugging Face tokenizers do."""
    for rank, (left, right) in enumerate(merges):
        for piece in (left, right, left + right):
            if piece not in vocabulary:
                raise FormatError(f"Merge {rank} of the tokenizer needs {piece!r}, not in its vocabulary.")
    with library_errors("The tokenizer's vocabulary is broken"):
        model = models.BPE(vocab=dict(vocabulary), merges=list(merges), ignore_merges=words.whole_words)
        backend = Backend(model)
        splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in words.patterns]
        letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        backend.pre_tokenizer = pre_tokenizers.Sequence([*splits, letters])
        if composes:
            backend.normalizer = normalizers.NFC()
    return backend


def word_piece_backend(
    vocabulary: Mapping[str, int], unknown: str, *, lowercase: bool, strip_accents: bool | None = None
) -> Backend:
    """BERT's tokenizer; `vocabulary` spells continuations with "##"."""
    if unknown not in vocabulary:
        raise FormatError(f"The WordPiece vocabulary has no {unknown!r} for unknown words.")
    with library_errors("The tokenizer's vocabulary is broken"):
        backend = Backend(models.WordPiece(vocab=dict(vocabulary), unk_token=unknown))
        backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=strip_accents)
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return backend


def parse_merges(lines: Iterable[str]) -> list[tuple[str, str]]:
    """Each line "left right"; a piece may not hold a space except as its first letter."""
    merges = []
    for number, line in enumerate(lines):
        cut = line.find(" ", 1)
        if cut < 0 or cut == len(line) - 1:
            raise FormatError(f"Merge {number} of the tokenizer is not two pieces: {line[:40]!r}.")
        merges.append((line[:cut], line[cut + 1 :]))
    return merges


def add_tokens(backend: Backend, tokens: Sequence[AddedToken]) -> None:
    """Makes the library match these whole, special or not as each token says."""
    with library_errors("The tokenizer's added tokens are broken"):
        backend.add_tokens(list(tokens))
