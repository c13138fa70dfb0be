"""Ollama templates compiled to Jinja: the same bytes as Go, or a refusal that says what Jinja lacks."""
# ruff: noqa: E501 (templates)

import json
from datetime import datetime
from pathlib import Path

import pytest
from go_cases import CONVERSATIONS, TEMPLATES, TOOLS_FOR
from hypothesis import given, settings
from hypothesis import strategies as st

from fairway.errors import FairwayError, UnsupportedError
from fairway.text.chat_template import ChatTemplate
from fairway.text.jinja_from_go import jinja_from_go
from fairway.text.ollama_template import OllamaTemplate, Thinking

GOLDENS_FILE = Path(__file__).parent / "goldens" / "go_templates.json"
GOLDENS = json.loads(GOLDENS_FILE.read_text("utf-8"))["renderings"]
REFUSED = {"numbers": "a number with a fraction", "printing": "%q"}
READS = "{{ if .Messages }}{{ end }}"
"""Makes a template one that reads .Messages; prints nothing."""


def compiled(source):
    return ChatTemplate(jinja_from_go(source), clock=lambda: datetime(2026, 7, 31))


@pytest.mark.parametrize("name", CONVERSATIONS)
@pytest.mark.parametrize("title", sorted(TEMPLATES.keys() - REFUSED.keys()))
def test_compiled_templates_render_what_go_renders(title, name):
    template = compiled(TEMPLATES[title] + READS)
    text = template.render(CONVERSATIONS[name], tools=TOOLS_FOR.get(name), enable_thinking=True)
    assert text == GOLDENS[title][name]["text"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        *((TEMPLATES[title], reason) for title, reason in REFUSED.items()),
        ("{{ slice .System 1 }}", "by bytes"),
        ("{{ yesterdayDate }}", "nothing like yesterdayDate"),
        ("{{ html .System }}", "nothing like html"),
        ("{{ .Messages }}", "prints a whole list"),
        ("{{ range .Messages }}{{ . }}{{ end }}", "prints a whole Message"),
        ("{{ range .Messages }}{{ .Nope }}{{ end }}", "has no field Nope"),
        ("{{ eq .System 1 }}", "different kinds"),
        ('{{ $x := 1 }}{{ $x = "a" }}', "changes from number to text"),
        ('{{ define "a" }}{{ template "a" . }}{{ end }}{{ template "a" . }}', "call each other"),
        ("{{ printf .System }}", "format is not written"),
        ("{{ range .Messages }}{{ range .ToolCalls }}{{ range .Function.Arguments }}{{ range . }}{{ end }}"
         "{{ end }}{{ end }}{{ end }}", "only known when it runs"),
    ],
)  # fmt: skip
def test_what_jinja_cannot_express_is_refused_by_name(source, reason):
    with pytest.raises(UnsupportedError, match=reason):
        jinja_from_go(source)


def test_a_template_that_doubles_without_end_is_refused():
    named = "".join(
        f'{{{{ define "t{n}" }}}}{{{{ template "t{n + 1}" . }}}}{{{{ template "t{n + 1}" . }}}}{{{{ end }}}}'
        for n in range(15)
    )
    with pytest.raises(UnsupportedError, match="more than 262144 characters"):
        jinja_from_go('{{ define "t15" }}' + "x" * 100 + "{{ end }}" + named + '{{ template "t0" . }}')


def test_named_arguments_that_are_methods_of_dictionaries_are_found():
    template = compiled(
        "{{ range .Messages }}{{ range .ToolCalls }}{{ .Function.Arguments.items }}{{ end }}{{ end }}"
    )
    call = {"function": {"name": "f", "arguments": {"items": "three"}}}
    assert template.render([{"role": "assistant", "content": None, "tool_calls": [call]}]) == "three"


PIECES = st.sampled_from(
    [
        "\n", "  ", "{", "}", "}}", "{%", "{# x #}", "\r\n", "'\\", "é<&>", "text",
        "{{ .System }}", "{{ $.System }}", "{{- /* note */ -}}", '{{ "{{" }}', "{{ json .System }}",
        "{{ len .Messages }}", "{{ $v = printf \"%s+\" $v }}", "{{ $v }}", "{{ $w := $v }}{{ $w }}",
        "{{ len $v }}", "{{ print 1 2 $v true }}", "{{ currentDate }}",
    ]
)  # fmt: skip
INSIDE = st.sampled_from(
    ["{{ .Role }}", "{{ .Content }}", "{{ $i }}", "{{ json .Content }}", "{{ .Thinking }}", "{{ len .ToolCalls }}",
     "{{ if eq (len (slice $.Messages $i)) 1 }}!{{ end }}", "{{ break }}", "{{ continue }}",
     "{{ with .Content }}{{ . }}{{ len . }}{{ else }}none{{ end }}", "{{ $n = .Role }}{{ $n }}",
     "{{ range .ToolCalls }}{{ .Function.Name }}{{ .Function.Arguments }}{{ end }}"]
)  # fmt: skip
CONDITIONS = st.sampled_from(
    [
        ".System",
        "not .System",
        "and .Messages $v",
        "or .Tools $v",
        'eq $v "" "+"',
        "gt (len .Messages) 2",
        "$.Think",
    ]
)
MARKS = st.sampled_from([("{{ ", " }}"), ("{{- ", " }}"), ("{{ ", " -}}"), ("{{- ", " -}}")])


@st.composite
def go_templates(draw):
    def text():
        return "".join(draw(st.lists(PIECES, max_size=4)))

    def block(depth):
        left, right = draw(MARKS)
        kind = draw(st.sampled_from(["if", "chain", "range"]))
        if kind == "range":
            inside = "".join(draw(st.lists(st.one_of(INSIDE, PIECES.filter(lambda p: ".System" not in p
                and "{{ .S" not in p and ".Messages" not in p)), max_size=5)))  # fmt: skip
            return f"{left}range $i, $_ := .Messages{right}{inside}{left}end{right}"
        body = text() + (block(depth + 1) if depth < 2 and draw(st.booleans()) else "") + text()
        if kind == "chain":
            body += f"{left}else if {draw(CONDITIONS)}{right}{text()}"
        return f"{left}if {draw(CONDITIONS)}{right}{body}{left}else{right}{text()}{left}end{right}"

    blocks = [block(0) for _ in range(draw(st.integers(0, 3)))]
    return READS + '{{ $v := "" }}{{ $n := "" }}' + "".join(text() + each for each in blocks) + text()


@settings(max_examples=150, deadline=None)
@given(go_templates(), st.sampled_from(sorted(CONVERSATIONS)), st.booleans())
def test_random_templates_render_the_same_through_both(source, name, think):
    messages, tools = CONVERSATIONS[name], TOOLS_FOR.get(name)
    clock = lambda: datetime(2026, 7, 31)  # noqa: E731
    try:
        expected = OllamaTemplate(source, clock=clock).render(
            messages, tools=tools, thinking=Thinking(think=think, is_set=True)
        )
    except FairwayError:
        return
    assert compiled(source).render(messages, tools=tools, enable_thinking=think) == expected


TURN = "{{ if .System }}<s>{{ .System }}{{ end }}{{ if .Prompt }}<u>{{ .Prompt }}{{ end }}<a>{{ .Response }}<e>\n"


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([TURN, "{{ .System }}\n{{ .Prompt }}", "{{ with .Response }}{{ . }}{{ end }}|{{ .Response }}{{ .Prompt }}"]),
    st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), st.sampled_from(["", "a", "b\n"])), max_size=7),
)  # fmt: skip
def test_templates_of_turns_render_the_same_through_both(source, said):
    messages = [{"role": role, "content": content} for role, content in said]
    assert compiled(source).render(messages) == OllamaTemplate(source).render(messages)


BREAKS = st.sampled_from(
    ["$", ".", " ", "(", ")", "|", "{{", "}}", "-", " end ", " else ", ":=", '"', "1", "nil", "and ", "$i"]
)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted(TEMPLATES.values())),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 4), BREAKS), min_size=1, max_size=4),
)
def test_damaged_templates_are_refused_or_render_the_same(source, damage):
    for place, length, text in damage:
        at = int(place * len(source))
        source = source[:at] + text + source[at + length :]
    clock = lambda: datetime(2026, 7, 31)  # noqa: E731
    try:
        expected = OllamaTemplate(source, clock=clock).render(CONVERSATIONS["turns"])
        found = compiled(source).render(CONVERSATIONS["turns"])
    except FairwayError as error:
        assert "\n" not in str(error)
        return
    assert found == expected
