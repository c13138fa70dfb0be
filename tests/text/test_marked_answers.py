"""{% generation %} tags: where the assistant's text lies in a rendered conversation."""

import pytest

from fairway.errors import RequestError
from fairway.text.chat_template import ChatTemplate

TURNS = [
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "bc"},
    {"role": "assistant", "content": "d"},
]
MARKED = "{% for m in messages %}[{% if m.role == 'assistant' %}{% generation %}{{ m.content }}!{% endgeneration %}{% else %}{{ m.content }}{% endif %}]{% endfor %}"  # noqa: E501


def test_places_of_what_is_marked():
    template = ChatTemplate(MARKED)
    text, places = template.render_marked(TURNS)
    assert template.marks_answers
    assert text == template.render(TURNS, add_generation_prompt=False) == "[a][bc!][d!]"
    assert [text[start:end] for start, end in places] == ["bc!", "d!"]


def test_a_template_without_tags_marks_nothing():
    template = ChatTemplate("{% for m in messages %}{{ m.content }}{% endfor %}")
    assert not template.marks_answers
    assert template.render_marked(TURNS) == ("abcd", [])


def test_marks_pass_through_macros_and_captured_text():
    source = (
        "{% macro say(m) %}{% generation %}{{ m.content }}{% endgeneration %}{% endmacro %}"
        "{% for m in messages %}{% set text %}<{{ say(m) }}>{% endset %}{{ text | trim }}{% endfor %}"
    )
    text, places = ChatTemplate(source).render_marked(TURNS)
    assert (text, [text[start:end] for start, end in places]) == ("<a><bc><d>", ["a", "bc", "d"])


def test_text_that_is_reworked_after_it_was_marked_is_refused():
    source = (
        "{% for m in messages %}{% set text %}{% generation %} {{ m.content }} {% endgeneration %}"
        "{% endset %}{{ text | trim }}{% endfor %}"
    )
    with pytest.raises(RequestError, match="changes the text inside its generation tags"):
        ChatTemplate(source).render_marked(TURNS)


def test_refusals_are_told_as_ever():
    with pytest.raises(RequestError, match="refuses these messages: no"):
        ChatTemplate("{{ raise_exception('no') }}{% generation %}{% endgeneration %}").render_marked(TURNS)
