"""The chat format, once as a Jinja template for users and once as token ids for training.

A turn is its marker, its text and <|end|>. Each piece of text is encoded on its own, as a
tokenizer does with the text between two markers of a rendered template.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokenizers import Tokenizer

from .tokenizer import ASSISTANT, BEGIN, SYSTEM, TURN_END, USER

TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] | trim + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
MARKERS = {"system": SYSTEM, "user": USER, "assistant": ASSISTANT}


@dataclass(frozen=True)
class Message:
    role: str
    content: str


def encode_chat(tokenizer: Tokenizer, messages: list[Message]) -> tuple[list[int], list[bool]]:
    """Ids of a whole conversation, and for each whether the model has to learn to say it."""
    ids, learned = [tokenizer.token_to_id(BEGIN)], [False]
    for message in messages:
        text = tokenizer.encode(message.content.strip(), add_special_tokens=False).ids
        ids += [tokenizer.token_to_id(MARKERS[message.role]), *text]
        ids.append(tokenizer.token_to_id(TURN_END))
        learned += [False] + [message.role == "assistant"] * (len(text) + 1)
    return ids, learned
