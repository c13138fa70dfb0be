"""Go templates for Ollama learned from what Jinja templates render."""
# ruff: noqa: E501 (templates)

from datetime import datetime

import pytest
from go_cases import TEMPLATES
from text_cases import SHARED, needs_shared

from fairway.errors import RequestError, UnsupportedError
from fairway.text.chat_template import CHATML, ChatTemplate
from fairway.text.go_from_jinja import go_from_jinja
from fairway.text.jinja_from_go import jinja_from_go
from fairway.text.ollama_template import OllamaTemplate

LOOP = "{% for m in messages %}"
JINJA = {
    "chatml": CHATML,
    "default system": "{% if messages[0].role != 'system' %}<|im_start|>system\nHelp.<|im_end|>\n{% endif %}" + CHATML,
    "headers": "{{ bos_token }}" + LOOP + "<|start|>{{ m.role }}<|mid|>\n\n{{ m.content | trim }}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant<|mid|>\n\n{% endif %}",
    "system in the first message": LOOP + "{% if m.role == 'user' %}[INST] {% if loop.index0 == 1 and messages[0].role == 'system' %}"
    "<<SYS>>\n{{ messages[0].content }}\n<</SYS>>\n\n{% endif %}{{ m.content }} [/INST]{% elif m.role == 'assistant' %} {{ m.content }}</s>{% endif %}{% endfor %}",
    "system in the last message": "{{ bos_token }}" + LOOP + "{% if m.role == 'user' %}[INST]{% if loop.last and messages[0].role == 'system' %}"
    "{{ messages[0].content }}\n\n{% endif %}{{ m.content }}[/INST]{% elif m.role == 'assistant' %}{{ m.content }}</s>{% endif %}{% endfor %}",
    "no system": LOOP + "{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}<turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content }}</turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<turn>model\n{% endif %}",
    "braces": LOOP + "{{ '{{' }}{{ m.role }}{{ '}}{' }}{{ m.content }}{{ '{%' }}\n{% endfor %}{{ '{' }}",
    "ignores the flag": LOOP + "{% if m.role == 'user' %}Q: {{ m.content }}\nA:{% else %} {{ m.content }}\n{% endif %}{% endfor %}",
}  # fmt: skip
U, A, V = (
    {"role": "user", "content": "One?"},
    {"role": "assistant", "content": "Two.\n"},
    {"role": "user", "content": "Three {{ x }}"},
)
S = {"role": "system", "content": "Be kind."}


def jinja(name):
    return ChatTemplate(JINJA[name], bos_token="<s>", eos_token="</s>")


@pytest.mark.parametrize("name", JINJA)
def test_the_learned_template_renders_the_same(name):
    found = go_from_jinja(jinja(name), bos="<s>")
    go = OllamaTemplate(found.source)
    for messages in ([U], [U, A | {"content": "Two."}, V], [S, U], [S, U, A | {"content": "Two."}, V]):
        try:
            expected = jinja(name).render(messages)
        except RequestError:
            continue
        assert go.render(messages) == expected.removeprefix("<s>")


def test_a_system_message_that_is_refused_begins_the_first_message():
    found = go_from_jinja(jinja("no system"))
    assert OllamaTemplate(found.source).render([S, U]) == "<turn>user\nBe kind.\n\nOne?</turn>\n<turn>model\n"
    assert "refuses system messages" in found.notes[0]


def test_late_system_messages_are_found_where_the_template_has_turns_for_them():
    found = go_from_jinja(jinja("chatml"))
    assert len(found.notes) == 1
    assert OllamaTemplate(found.source).render([U, A, S, V]) == jinja("chatml").render([U, A, S, V])


def test_a_date_is_named():
    dated = ChatTemplate("{{ strftime_now('%d %b %Y') }}" + CHATML, clock=lambda: datetime(2026, 1, 2))
    found = go_from_jinja(dated)
    assert found.source.startswith("02 Jan 2026")
    assert any("date" in note for note in found.notes)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (LOOP + "{{ m.content | upper }}{% endfor %}", "changes, repeats or leaves out"),
        (LOOP + "{{ m.content }}{{ m.content }}{% endfor %}", "changes, repeats or leaves out"),
        (LOOP + "{{ m.content }}{{ m.content | length }}{% endfor %}", "no Go template of a known shape"),
        (LOOP + "{{ loop.index }}{{ m.content }}{% endfor %}", "no Go template of a known shape"),
        ("{{ raise_exception('tools only') }}", "refuses these messages: tools only"),
        ("{{ nothing.at_all }}", "cannot render these messages"),
    ],
)
def test_what_has_no_equal_is_refused(source, reason):
    with pytest.raises(UnsupportedError, match=reason):
        go_from_jinja(ChatTemplate(source))


@pytest.mark.parametrize("name", ["plain"])
def test_there_and_back(name):
    there = ChatTemplate(jinja_from_go(TEMPLATES[name]))
    assert OllamaTemplate(go_from_jinja(there).source).render([S, U, A, V]) == there.render([S, U, A, V])


@needs_shared
def test_templates_of_current_models():
    """All but the two that know no conversation without tools."""
    refused = []
    for path in sorted((SHARED / "chat-templates").glob("*.jinja")):
        template = ChatTemplate(path.read_text("utf-8"), bos_token="<bos>", eos_token="<eos>")
        try:
            go = OllamaTemplate(go_from_jinja(template, bos="<bos>").source)
        except UnsupportedError:
            refused.append(path.name)
            continue
        assert go.render([U]) == template.render([U]).removeprefix("<bos>"), path.name
    assert len(refused) == 2
    assert all("Hermes" in name for name in refused)


@needs_shared
def test_every_template_of_ollamas_index_has_an_equal():
    import json

    folder = SHARED / "chat-templates" / "ollama-golden"
    for row in json.loads((folder / "index.json").read_text("utf-8")):
        assert go_from_jinja(
            ChatTemplate(row["template"], bos_token="<s>", eos_token="</s>"), bos="<s>"
        ).source
