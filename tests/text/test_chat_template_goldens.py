"""Every template renders every conversation exactly as transformers does (make_goldens.py)."""

import hashlib
import json
from pathlib import Path

import pytest
from template_conversations import BOS, CLOCK, CONVERSATIONS, EOS, TEMPLATES
from text_cases import SHARED, needs_shared

from fairway.errors import RequestError
from fairway.text.chat_template import ChatTemplate

GOLDENS = json.loads((Path(__file__).parent / "goldens" / "chat_templates.json").read_text("utf-8"))


def rendering(template: ChatTemplate, conversation: str) -> str | None:
    messages, options = CONVERSATIONS[conversation]
    try:
        return template.render(messages, **options)
    except RequestError as error:
        assert error.message.startswith("The model's chat template ")
        return None


def compiled(source: str) -> ChatTemplate:
    return ChatTemplate(source, bos_token=BOS, eos_token=EOS, clock=lambda: CLOCK)


@pytest.mark.parametrize("name", TEMPLATES)
def test_own_templates(name: str) -> None:
    template = compiled(TEMPLATES[name])
    for conversation, expected in GOLDENS["own"][name].items():
        assert rendering(template, conversation) == expected, conversation


@needs_shared
@pytest.mark.parametrize("name", GOLDENS["shared"])
def test_templates_of_real_models(name: str) -> None:
    template = compiled((SHARED / "chat-templates" / name).read_text("utf-8"))
    for conversation, expected in GOLDENS["shared"][name].items():
        text = rendering(template, conversation)
        digest = None if text is None else hashlib.sha256(text.encode()).hexdigest()[:32]
        assert digest == expected, conversation


def test_all_templates_and_conversations_are_recorded() -> None:
    assert len(GOLDENS["shared"]) == 22
    assert set(GOLDENS["own"]) == set(TEMPLATES)
    for table in (*GOLDENS["own"].values(), *GOLDENS["shared"].values()):
        assert set(table) == set(CONVERSATIONS)
