"""A model so small that an update takes milliseconds, and text for it."""

import json
from dataclasses import replace
from pathlib import Path

from recipes.builtin_model.settings import ConversationPlan, ModelShape, Recipe, load_recipe

SENTENCES = [
    "Once upon a time a fox met a bear in the wood.",
    "The bear had a red ball, and the fox liked the ball very much.",
    '"May I play with you?" said the fox -- and the bear said yes.',
    "They played until the sun went down in 1877.",
]


def tiny_recipe() -> Recipe:
    recipe = load_recipe()
    shape = ModelShape(
        vocab_size=320,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        rope_theta=10000.0,
        rms_norm_eps=1e-5,
    )
    conversations = ConversationPlan(1, 1024, 64, 0.2, 0.5, 0.2)
    text = replace(recipe.text, held_out_books=("b.md",), held_out_story_share=0.25, keep_crlf_every=2)
    text = replace(text, measured_characters=40)
    return Recipe(shape, text, conversations)


def write_texts(folder: Path) -> Path:
    """books/a.md to c.md and eight stories, in the layout the recipe reads."""
    (folder / "books").mkdir(parents=True)
    for name in "abc":
        lines = [f"# Book {name}", *SENTENCES * 3]
        (folder / "books" / f"{name}.md").write_bytes("\r\n\r\n".join(lines).encode())
    stories = [f"Story {i}. " + " ".join(SENTENCES) for i in range(8)]
    instructions = folder / "finetune" / "instructions-rasbt"
    instructions.mkdir(parents=True)
    row = {"instruction": "Add.", "input": "2 + 2", "output": "It is 4."}
    (instructions / "instruction-data.json").write_text(json.dumps([row]), encoding="utf-8")
    (folder / "tinystories-valid.txt").write_text("\n<|endoftext|>\n".join(stories), encoding="utf-8")
    return folder
