"""The model to distill from: frozen, and of the student's vocabulary."""

from __future__ import annotations

import torch

from fairway.errors import UnsupportedError
from fairway.formats.bundle import Bundle
from fairway.registry.progress import Progress
from fairway.text.loader import load_tokenizer
from fairway.tune.torch_decoder import TorchDecoder
from fairway.tune.torch_weights import load_weights


def check_vocabulary(student: Bundle, teacher: Bundle) -> None:
    """Raises `UnsupportedError` naming the first token that differs."""
    if student.tokenizer is None or teacher.tokenizer is None:
        raise UnsupportedError(f"{teacher.name} or {student.name} has no tokenizer to compare.")
    mine, other = load_tokenizer(student.tokenizer), load_tokenizer(teacher.tokenizer)
    if mine.vocab_size != other.vocab_size:
        raise _different(student, teacher, f"{other.vocab_size:,} tokens there, {mine.vocab_size:,} here")
    for number in range(mine.vocab_size):
        here, there = mine.emitted_bytes(number, False), other.emitted_bytes(number, False)
        if here != there:
            raise _different(student, teacher, f"token {number:,} is {there!r} there and {here!r} here")


def load_teacher(
    teacher: Bundle, compute: torch.dtype, device: torch.device, progress: Progress
) -> TorchDecoder:
    """Its weights in the type that matrices are multiplied in."""
    loaded = load_weights(teacher, compute, device, progress)
    return TorchDecoder(loaded.config, loaded.weights, compute=compute)


def _different(student: Bundle, teacher: Bundle, why: str) -> UnsupportedError:
    return UnsupportedError(
        f"{teacher.name} cannot teach {student.name}, for their vocabularies differ: {why}.",
        hint="Name a larger model of the same family.",
    )
