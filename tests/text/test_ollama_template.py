"""Conversations through Ollama templates: the golden renderings, turns, and hostile templates."""
# ruff: noqa: E501 (templates)

import time

import pytest
from text_cases import SHARED, needs_shared

from fairway.errors import FairwayError
from fairway.text.chat_template import ChatTemplate
from fairway.text.jinja_from_go import jinja_from_go
from fairway.text.ollama_template import OllamaTemplate, collate

FOLDER = SHARED / "chat-templates" / "ollama-golden"
USER = {"role": "user", "content": "Hello, how are you?"}
ANSWER = {"role": "assistant", "content": "I'm doing great. How can I help you today?"}
AGAIN = {"role": "user", "content": "I'd like to show off how chat templating works!"}
SYSTEM = {"role": "system", "content": "You are a helpful assistant."}
GOLDEN = {
    "user": [USER],
    "user-assistant-user": [USER, ANSWER, AGAIN],
    "system-user-assistant-user": [SYSTEM, USER, ANSWER, AGAIN],
}


@needs_shared
@pytest.mark.parametrize("way", ["go", "jinja"])
@pytest.mark.parametrize("conversation", GOLDEN)
def test_ollamas_golden_renderings(way, conversation):
    paths = sorted(FOLDER.glob("testdata/*/" + conversation))
    assert len(paths) == 20
    for path in paths:
        source = (FOLDER / path.parent.name).read_bytes().decode()
        template = OllamaTemplate(source) if way == "go" else ChatTemplate(jinja_from_go(source))
        assert template.render(GOLDEN[conversation]) == path.read_bytes().decode(), path.parent.name


def test_neighbours_of_one_role_become_one_message():
    tool = {"role": "tool", "content": "1"}
    system, messages = collate([SYSTEM, SYSTEM, USER, {**USER, "content": ""}, AGAIN, tool, tool])
    assert system == "You are a helpful assistant.\n\nYou are a helpful assistant."
    assert [each["role"] for each in messages] == ["system", "user", "tool", "tool"]
    assert messages[1]["content"] == f"{USER['content']}\n\n{AGAIN['content']}"
    assert USER["content"] == "Hello, how are you?"


def test_a_template_of_turns_ends_where_the_answer_begins():
    template = OllamaTemplate(
        "{{ if .System }}S {{ .System }}\n{{ end }}U {{ .Prompt }}\nA {{ .Response }}</s>\n"
    )
    assert template.render([SYSTEM, USER, ANSWER, AGAIN]) == (
        "S You are a helpful assistant.\nU Hello, how are you?\nA I'm doing great. How can I help you today?</s>\n"
        "U I'd like to show off how chat templating works!\nA "
    )


def test_an_answer_at_the_end_is_continued():
    template = OllamaTemplate("U {{ .Prompt }}\nA {{ .Response }}</s>\n")
    assert template.render([USER, {"role": "assistant", "content": "Fi"}]) == "U Hello, how are you?\nA Fi"


def test_a_template_without_an_answer_gets_one_at_its_end():
    assert OllamaTemplate("{{ .Prompt }}: ").render([USER, ANSWER, AGAIN]) == (
        f"{USER['content']}: {ANSWER['content']}{AGAIN['content']}: "
    )


def test_code_is_filled_in_between():
    template = OllamaTemplate(
        "{{ if .Suffix }}<pre>{{ .Prompt }}<suf>{{ .Suffix }}<mid>{{ else }}{{ .Prompt }}{{ end }}"
    )
    assert template.fill("a", "b") == "<pre>a<suf>b<mid>"


DEEP = 5000
HOSTILE = {
    "blocks": "{{ if true }}" * DEEP + "{{ end }}" * DEEP,
    "unclosed blocks": "{{ if true }}" * DEEP,
    "chains": "{{ if false }}" + "{{ else if false }}" * DEEP + "{{ end }}",
    "parentheses": "{{ " + "(" * DEEP + "1" + ")" * DEEP + " }}",
    "endless range": "{{ range 1000000 }}{{ range 1000000 }}{{ end }}{{ end }}",
    "silent ranges": "{{ range 999999 }}" * 20 + "{{ end }}" * 20,
    "growth": '{{ $x := "xxxxxxxx" }}{{ range 100 }}{{ $x = print $x $x }}{{ end }}',
    "output": "{{ range 1000000 }}" + "x" * 1000 + "{{ end }}",
    "recursion": '{{ define "a" }}{{ template "a" . }}{{ end }}{{ template "a" . }}',
    "doubling": "".join(
        f'{{{{ define "t{n}" }}}}{{{{ template "t{n + 1}" }}}}{{{{ template "t{n + 1}" }}}}{{{{ end }}}}'
        for n in range(40)
    )
    + '{{ define "t40" }}{{ end }}{{ template "t0" }}',
    "width": '{{ printf "%999999999d" 1 }}',
    "wide text": '{{ printf "%-2000000000s" "a" }}',
    "huge": "x" * (300 << 10),
    "fields": "{{ .Messages" + ".a" * DEEP + " }}",
    "pipes": "{{ 1" + " | print" * DEEP + " }}",
    "big number": "{{ " + "9" * 10000 + " }}",
    "surrogates": '{{ "\\ud800" }}',
    "python": "{{ .System.__class__ }}{{ (index .Messages 0).__init__ }}",
    "call": '{{ call .System }}{{ template "/etc/passwd" }}',
    "jinja": "{{ .Messages }}{% for x in range(10 ** 9) %}{{ x }}{% endfor %}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_templates_end_in_one_sentence(name):
    """Or in a harmless rendering, and soon."""
    begin = time.thread_time()
    for attempt in (_by_go, _by_jinja):
        try:
            assert len(attempt(HOSTILE[name])) <= 8 << 20
        except FairwayError as error:
            assert str(error).endswith((".", "it."))
            assert "\n" not in str(error)
            assert len(str(error)) < 400
    assert time.thread_time() - begin < 20


def _by_go(source):
    return OllamaTemplate(source).render([SYSTEM, USER])


def _by_jinja(source):
    return ChatTemplate(jinja_from_go(source)).render([SYSTEM, USER])
