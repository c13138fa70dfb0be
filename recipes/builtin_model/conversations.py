"""What the instruction pass teaches: story requests, short instructions, greetings.

Everything is drawn from a random generator that the caller seeds.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from .settings import ConversationPlan

Item = TypeVar("Item")
Message = dict[str, str]
"""role and content, as OpenAI has them."""

GREETINGS_FILE = Path(__file__).with_name("greetings.json")
SUBJECT_WORDS = (
    "ant apple baby balloon ball bear bee bike bird boat book box boy bread bug bunny bus butterfly "
    "cake candy car castle cat caterpillar chicken clown cookie cow crab dinosaur doctor dog doll "
    "dolphin dragon drum duck eagle elephant fairy farm farmer fire fish flower fox frog garden ghost "
    "gift giraffe girl goat grandma guitar hat hen hippo honey horse house ice jar jungle key king kite "
    "kitten ladder lake lamp leaf lemon lion lizard map monkey monster moon mountain mouse mud music "
    "nest ocean orange owl page painting park peach pencil penguin pig pilot pirate pizza plane pond "
    "pony prince princess puppy puzzle queen rabbit rain rainbow ring river robot rock rose sailor sand "
    "sandwich school sea seed shark sheep shell ship shoe shop snail snake snow soup spider spoon "
    "spring squirrel star stick stone storm sun sweater swing tiger train treasure tree truck turtle "
    "umbrella vase wagon whale wind witch wizard wolf wood worm yard zebra zoo"
)
SUBJECTS = frozenset(SUBJECT_WORDS.split())
ABOUT_SUBJECT = (
    "Tell me a story about {a} {subject}.",
    "tell me a story about {a} {subject}",
    "Tell me a short story about {a} {subject}.",
    "Tell me a little story about {a} {subject}, please.",
    "Write a story about {a} {subject}.",
    "Write a short story about {a} {subject} for children.",
    "Can you tell me a story about {a} {subject}?",
    "I would like to hear a story about {a} {subject}.",
    "Please tell me a story with {a} {subject} in it.",
    "A story about {a} {subject}, please!",
)
ABOUT_NAME = (
    "Tell me a story about {name}.",
    "Tell me a story about someone called {name}.",
    "Write a short story about {name}.",
    "Can you tell me a story about {name}?",
)
ABOUT_BOTH = (
    "Tell me a story about {name} and {a} {subject}.",
    "Write a short story about {name} and {a} {subject}.",
)
ABOUT_ANYTHING = (
    "Tell me a story.",
    "tell me a story",
    "Tell me a short story.",
    "Tell me a little story, please.",
    "Tell me a bedtime story.",
    "Write a story for children.",
    "Can you tell me a story?",
    "Please tell me a story.",
    "I want to hear a story.",
)
SYSTEM_LINES = (
    "You are a helpful assistant.",
    "You are Fairway's built-in model. Answer in short sentences.",
    "You are a friendly story teller.",
    "Answer briefly.",
)
SYSTEM_SHARE, SECOND_TURN_SHARE = 0.2, 0.2


@dataclass(frozen=True)
class Material:
    """All there is to draw from; a pair is (what the user says, what the assistant answers)."""

    stories: list[str]
    instructions: list[tuple[str, str]]
    greetings: list[tuple[str, str]]


def read_material(folder: Path, stories: list[str]) -> Material:
    """Instructions from below `folder`, greetings from this recipe, stories as given."""
    source = folder / "finetune" / "instructions-rasbt" / "instruction-data.json"
    rows = json.loads(source.read_text(encoding="utf-8"))
    groups = json.loads(GREETINGS_FILE.read_text(encoding="utf-8"))
    return Material(
        stories=stories,
        instructions=[("\n".join(filter(None, (r["instruction"], r["input"]))), r["output"]) for r in rows],
        greetings=[(q, a) for group in groups for q in group["questions"] for a in group["answers"]],
    )


def draw_conversation(
    material: Material, plan: ConversationPlan, random: np.random.Generator
) -> list[Message]:
    """One conversation of one or two exchanges, now and then with a system line."""
    messages = []
    if random.random() < SYSTEM_SHARE:
        messages.append(_message("system", _pick(SYSTEM_LINES, random)))
    while len(messages) < 4:
        question, answer = _draw_pair(material, plan, random)
        messages += [_message("user", question), _message("assistant", answer)]
        if random.random() >= SECOND_TURN_SHARE:
            break
    return messages


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _draw_pair(material: Material, plan: ConversationPlan, random: np.random.Generator) -> tuple[str, str]:
    kind = random.random()
    if kind < plan.story_share:
        story = _pick(material.stories, random)
        return story_request(story, random), story
    if kind < plan.story_share + plan.greeting_share:
        return _pick(material.greetings, random)
    return _pick(material.instructions, random)


def story_request(story: str, random: np.random.Generator) -> str:
    """A request that this story answers: about what or whom it mentions most."""
    subject, name = main_subject(story), main_name(story)
    forms = [ABOUT_ANYTHING]
    forms += [ABOUT_SUBJECT] * 4 if subject else []
    forms += [ABOUT_NAME] if name else []
    forms += [ABOUT_BOTH] if subject and name else []
    form = _pick(_pick(forms, random), random)
    article = "an" if subject and subject[0] in "aeiou" else "a"
    return form.format(a=article, subject=subject, name=name)


def main_subject(story: str) -> str | None:
    """The known noun that the story says most often, if it says one at least twice."""
    words = (word.removesuffix("s") for word in re.findall(r"[a-z]+", story.lower()))
    counts = Counter(word for word in words if word in SUBJECTS)
    word, count = counts.most_common(1)[0] if counts else (None, 0)
    return word if count >= 2 else None


def main_name(story: str) -> str | None:
    """The name after "named" or "called", as in "a girl named Lily"."""
    found = re.search(r"\b(?:named|called) ([A-Z][a-z]+)\b", story)
    return found.group(1) if found else None


def _pick(choices: Sequence[Item], random: np.random.Generator) -> Item:
    return choices[int(random.integers(len(choices)))]
