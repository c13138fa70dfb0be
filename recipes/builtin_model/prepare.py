"""Everything that is made before training: tokenizer, an empty model, and files of text and conversations.

    python -m recipes.builtin_model.prepare --data TEXT_FOLDER --work WORK_FOLDER

The rule: a part that is in WORK_FOLDER already stays as it is.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from fairway.formats.atomic import atomic_file

from .conversations import draw_conversation, read_material
from .model_folder import write_scratch
from .settings import RECIPE_FILE, ConversationPlan, Recipe, load_recipe
from .text import Texts, read_texts
from .tokenizer import load_tokenizer, train_tokenizer

TOKENIZER, SCRATCH = "tokenizer.json", "scratch"
TEXT, HELD_OUT, CONVERSATIONS = "text.jsonl", "held-out.jsonl", "conversations.jsonl"
CHARACTERS_PER_TOKEN = 8
"""More than any text has, so that a passage is longer than its sequence."""
Row = Mapping[str, Any]


def prepare(folder: Path, work: Path, recipe: Recipe) -> None:
    """Makes what is missing in `work` of the text below `folder`."""
    work.mkdir(parents=True, exist_ok=True)
    texts = read_texts(folder, recipe.text)
    if not (work / TOKENIZER).exists():
        trained = train_tokenizer(texts.books + texts.stories, recipe.model.vocab_size)
        trained.save(str(work / TOKENIZER))
    tokenizer = load_tokenizer(work / TOKENIZER)
    if not (work / SCRATCH).exists():
        write_scratch(work / SCRATCH, recipe.model, tokenizer)
    _write_rows(work / TEXT, _texts(texts.books + texts.stories * recipe.text.story_repeats))
    _write_rows(work / HELD_OUT, _texts(_measured(texts, recipe.text.measured_characters)))
    rows = conversation_rows(tokenizer, texts, folder, recipe.conversations)
    _write_rows(work / CONVERSATIONS, rows)


def conversation_rows(
    tokenizer: Tokenizer, texts: Texts, folder: Path, plan: ConversationPlan
) -> Iterator[Row]:
    """Conversations that fit, and passages of the books, in their shares of the tokens."""
    random = np.random.default_rng(plan.seed)
    material = read_material(folder, texts.stories)
    left = plan.num_tokens * (1 - plan.plain_text_share)
    while left > 0:
        messages = draw_conversation(material, plan, random)
        size = num_tokens(tokenizer, messages)
        if size <= plan.length:
            left -= size
            yield {"messages": messages}
    for _ in range(round(plan.num_tokens * plan.plain_text_share / plan.length)):
        book = texts.books[int(random.integers(len(texts.books)))]
        size = min(len(book), CHARACTERS_PER_TOKEN * plan.length)
        start = int(random.integers(len(book) - size + 1))
        yield {"text": book[start : start + size]}


def num_tokens(tokenizer: Tokenizer, messages: Iterable[Mapping[str, str]]) -> int:
    """Of the rendered conversation: <s>, and each text between its marker and <|end|>."""
    texts = (each["content"].strip() for each in messages)
    return 1 + sum(len(tokenizer.encode(text, add_special_tokens=False).ids) + 2 for text in texts)


def _measured(texts: Texts, size: int) -> list[str]:
    """A passage of each held-out book, after its front matter."""
    return [text[size : 2 * size] for text in texts.held_out_books.values()]


def _texts(documents: Iterable[str]) -> Iterator[Row]:
    return ({"text": each} for each in documents)


def _write_rows(path: Path, rows: Iterable[Row]) -> None:
    if path.exists():
        return
    with atomic_file(path) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False).encode("utf-8") + b"\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with books/ and stories")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made")
    parser.add_argument("--recipe", type=Path, default=RECIPE_FILE)
    args = parser.parse_args()
    prepare(args.data, args.work, load_recipe(args.recipe))


if __name__ == "__main__":
    main()
