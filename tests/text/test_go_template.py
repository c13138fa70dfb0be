"""Our interpreter of Go templates against what Go itself rendered (make_go_goldens.py)."""

import json
from datetime import datetime
from pathlib import Path

import pytest
from go_cases import BROKEN, CONVERSATIONS, TEMPLATES, TOOLS_FOR

from fairway.errors import FormatError, RequestError
from fairway.text.go_template import GoTemplate
from fairway.text.ollama_template import Thinking, chat_data

GOLDENS_FILE = Path(__file__).parent / "goldens" / "go_templates.json"
GOLDENS = json.loads(GOLDENS_FILE.read_text("utf-8"))["renderings"]
CASES = [(title, name) for title in TEMPLATES | BROKEN for name in CONVERSATIONS]


def render(source, name):
    template = GoTemplate(source, clock=lambda: datetime(2026, 7, 31, 12))
    thinking = Thinking(think=True, is_set=True)
    return template.execute(chat_data(CONVERSATIONS[name], TOOLS_FOR.get(name), thinking))


@pytest.mark.parametrize(("title", "name"), CASES, ids=lambda each: each)
def test_renders_what_go_renders(title, name):
    golden = GOLDENS[title][name]
    source = (TEMPLATES | BROKEN)[title]
    if "error" in golden:
        with pytest.raises((FormatError, RequestError)):
            render(source, name)
    else:
        assert render(source, name) == golden["text"]
