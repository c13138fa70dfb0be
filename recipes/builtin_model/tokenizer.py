"""Train the byte-fallback BPE tokenizer and write it as tokenizer.json, in the layout of Llama 2.

Spaces become "▁", one is put in front of the text and taken off again by the decoder, and a
character outside the vocabulary becomes its UTF-8 bytes, so any text without a literal "▁"
survives encode and decode.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

UNKNOWN, BEGIN, END = "<unk>", "<s>", "</s>"
SYSTEM, USER, ASSISTANT, TURN_END = "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"
BYTES = [f"<0x{value:02X}>" for value in range(256)]
SPECIALS = [UNKNOWN, BEGIN, END, SYSTEM, USER, ASSISTANT, TURN_END]
NUM_CHARACTERS = 128

# Pieces that merges may not cross while training: words with their space, single digits,
# punctuation, line ends. The finished tokenizer needs no such split.
PIECES = r"'(?:s|t|re|ve|ll|d|m)\b|▁?\p{L}+|▁?\p{N}|▁?[^\s▁\p{L}\p{N}]+|▁?[\r\n]+|▁+"


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Train on whole documents; ids are <unk> <s> </s>, 256 bytes, chat markers, then merges."""
    trainee = Tokenizer(models.BPE())
    trainee.normalizer = normalizers.Replace(" ", "▁")
    trainee.pre_tokenizer = pre_tokenizers.Split(Regex(PIECES), "isolated")
    reserved = SPECIALS[:3] + BYTES + SPECIALS[3:]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=reserved,
        limit_alphabet=NUM_CHARACTERS,
        show_progress=False,
    )
    trainee.train_from_iterator(_paragraph_groups(texts), trainer)
    return _as_llama(json.loads(trainee.to_str())["model"])


def _as_llama(model: dict) -> Tokenizer:
    """Give the trained merges the normaliser, decoder and fallback of a Llama tokenizer."""
    merges = [tuple(merge) for merge in model["merges"]]
    bpe = models.BPE(model["vocab"], merges, unk_token=UNKNOWN, fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(bpe)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens(SPECIALS)
    return tokenizer


def _paragraph_groups(texts: Iterable[str], size: int = 100_000) -> Iterator[str]:
    """Pieces of about `size` characters, so that the trainer works on bounded strings."""
    for text in texts:
        yield from (text[i : i + size] for i in range(0, len(text), size))


def load_tokenizer(path: Path) -> Tokenizer:
    return Tokenizer.from_file(str(path))
