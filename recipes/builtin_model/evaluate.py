"""Bits per byte on held-out text: nats of all tokens, over the text's UTF-8 bytes and ln 2.

Every token of the text counts exactly once, the first one after <s>. Windows overlap, so that
all but the first are predicted with at least `length - stride` tokens before them.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from .model import LanguageModel
from .settings import RECIPE_FILE, load_recipe
from .text import Texts, read_texts
from .tokenizer import BEGIN, load_tokenizer

BATCH = 8


def bits_per_byte(
    model: LanguageModel, tokenizer: Tokenizer, texts: list[str], length: int, stride: int
) -> float:
    """Bits per byte over all `texts` together, each read as a document of its own."""
    begin = tokenizer.token_to_id(BEGIN)
    documents = [[begin, *tokenizer.encode(t, add_special_tokens=False).ids] for t in texts]
    windows = [w for ids in documents for w in overlapping_windows(ids, length, stride)]
    num_bytes = sum(len(text.encode("utf-8")) for text in texts)
    return summed_nats(model, windows) / math.log(2) / num_bytes


def overlapping_windows(ids: list[int], length: int, stride: int) -> Iterator[tuple[Tensor, Tensor]]:
    """(inputs, targets) of at most `length`; targets counted by an earlier window are -100."""
    row = torch.tensor(ids)
    counted = 0
    while counted < len(ids) - 1:
        start = max(0, counted + stride - length) if counted else 0
        stop = min(start + length, len(ids) - 1)
        targets = row[start + 1 : stop + 1].clone()
        targets[: counted - start] = -100
        yield row[start:stop], targets
        counted = stop


@torch.no_grad()
def summed_nats(model: LanguageModel, windows: list[tuple[Tensor, Tensor]]) -> float:
    """Total cross-entropy; windows of one length share a batch."""
    device = next(model.parameters()).device
    total = 0.0
    windows = sorted(windows, key=lambda window: len(window[0]))
    for i in range(0, len(windows), BATCH):
        group = windows[i : i + BATCH]
        longest = max(len(inputs) for inputs, _ in group)
        inputs = torch.stack([_pad(row, longest, 0) for row, _ in group])
        targets = torch.stack([_pad(row, longest, -100) for _, row in group])
        total += model.loss(inputs.to(device), targets.to(device)).item()
    return total


def _pad(row: Tensor, length: int, value: int) -> Tensor:
    return torch.nn.functional.pad(row, (0, length - len(row)), value=value)


def measure(model: LanguageModel, tokenizer: Tokenizer, texts: Texts, length: int) -> dict[str, object]:
    """All figures of the model card, as one JSON object; windows overlap by a quarter."""
    books = list(texts.held_out_books.values())

    def measured(documents: list[str]) -> float:
        return bits_per_byte(model, tokenizer, documents, length, length * 3 // 4)

    each = [measured([book]) for book in books]
    sizes = [len(book.encode("utf-8")) for book in books]
    together = sum(bits * size for bits, size in zip(each, sizes, strict=True)) / sum(sizes)
    return {
        "held_out_books": round(together, 4),
        "held_out_stories": round(measured(texts.held_out_stories), 4),
        "per_book": {name: round(bits, 4) for name, bits in zip(texts.held_out_books, each, strict=True)},
        "shortest_book_with_crlf": round(measured([min(books, key=len).replace("\n", "\r\n")]), 4),
    }


def main() -> None:
    from .export import load_exported

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with books/ and stories")
    parser.add_argument("--model", type=Path, required=True, help="an exported model folder")
    parser.add_argument("--recipe", type=Path, default=RECIPE_FILE)
    args = parser.parse_args()
    recipe = load_recipe(args.recipe)
    model = load_exported(args.model, recipe.model)
    tokenizer = load_tokenizer(args.model / "tokenizer.json")
    texts = read_texts(args.data, recipe.text)
    length = recipe.model.max_position_embeddings
    print(json.dumps(measure(model, tokenizer, texts, length), indent=1))


if __name__ == "__main__":
    main()
