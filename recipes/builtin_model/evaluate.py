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

import numpy as np
import torch
from tokenizers import Tokenizer

from fairway.formats.open import open_bundle
from fairway.tune.encode import Example
from fairway.tune.packing import join
from fairway.tune.torch_decoder import TorchDecoder, tokens_of
from fairway.tune.torch_weights import load_weights

from .model_folder import TOKENIZER
from .settings import RECIPE_FILE, load_recipe
from .text import Texts, read_texts
from .tokenizer import BEGIN, load_tokenizer

BATCH = 8
CPU = torch.device("cpu")


def load_decoder(folder: Path) -> TorchDecoder:
    """The model of a folder, in float32."""
    loaded = load_weights(open_bundle(folder), torch.float32, CPU)
    return TorchDecoder(loaded.config, loaded.weights)


def bits_per_byte(
    model: TorchDecoder, tokenizer: Tokenizer, texts: list[str], length: int, stride: int
) -> float:
    """Bits per byte over all `texts` together, each read as a document of its own."""
    begin = tokenizer.token_to_id(BEGIN)
    documents = [[begin, *tokenizer.encode(t, add_special_tokens=False).ids] for t in texts]
    windows = [w for ids in documents for w in overlapping_windows(ids, length, stride)]
    num_bytes = sum(len(text.encode("utf-8")) for text in texts)
    return summed_nats(model, windows) / math.log(2) / num_bytes


def overlapping_windows(ids: list[int], length: int, stride: int) -> Iterator[Example]:
    """Of at most `length` tokens and one to predict; tokens counted by an earlier window are not learned."""
    row = np.array(ids, np.int32)
    counted = 0
    while counted < len(ids) - 1:
        start = max(0, counted + stride - length) if counted else 0
        stop = min(start + length, len(ids) - 1)
        learned = np.arange(start, stop + 1) > counted
        yield Example("", row[start : stop + 1], learned)
        counted = stop


@torch.no_grad()
def summed_nats(model: TorchDecoder, windows: list[Example]) -> float:
    """Total cross-entropy."""
    groups = (windows[at : at + BATCH] for at in range(0, len(windows), BATCH))
    return sum(model.loss(tokens_of(join(group), CPU)).item() for group in groups)


def measure(model: TorchDecoder, tokenizer: Tokenizer, texts: Texts, length: int) -> dict[str, object]:
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
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with books/ and stories")
    parser.add_argument("--model", type=Path, required=True, help="a folder that fairway tune or export left")
    parser.add_argument("--recipe", type=Path, default=RECIPE_FILE)
    args = parser.parse_args()
    recipe = load_recipe(args.recipe)
    model = load_decoder(args.model)
    tokenizer = load_tokenizer(args.model / TOKENIZER)
    texts = read_texts(args.data, recipe.text)
    length = recipe.model.max_position_embeddings
    print(json.dumps(measure(model, tokenizer, texts, length), indent=1))


if __name__ == "__main__":
    main()
