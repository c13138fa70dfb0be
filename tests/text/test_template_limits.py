"""Templates that never end or eat memory are stopped: a sentence, about a second, tens of megabytes."""
# ruff: noqa: E501 (a template is easier to read in one piece)

import resource
import sys
import time

import pytest

from fairway.errors import RequestError
from fairway.text.chat_template import ChatTemplate

GROW = "{% set ns = namespace(x='x', a=['x'], b=['x']) %}{% for i in range(60) %}"
END = "{% endfor %}"
BIG = "{% set big = 'x' * 1000000 %}"

HOSTILE = {
    "loops in loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "filtered loops": "{% for i in range(99999) if range(99999) | sum %}{% endfor %}",
    "text times number": "{{ 'x' * 10**10 }}",
    "list times number": "{{ ([0] * 10**9) | length }}",
    "doubling with ~": GROW + "{% set ns.x = ns.x ~ ns.x %}" + END,
    "doubling with +": GROW + "{% set ns.x = ns.x + ns.x %}" + END,
    "doubling with %": GROW + "{% set ns.x = '%s%s' % (ns.x, ns.x) %}" + END,
    "doubling with format": GROW + "{% set ns.x = '{0}{0}'.format(ns.x) %}" + END,
    "doubling with a filter": GROW + "{% set ns.x = '%s%s' | format(ns.x, ns.x) %}" + END,
    "squaring": "{% set ns = namespace(x=9) %}{% for i in range(60) %}{% set ns.x = ns.x * ns.x %}" + END,
    "power": "{{ 9 ** 99999999 }}",
    "percent width": "{{ '%1000000000d' % 1 }}",
    "percent star": "{{ '%*d' % (1000000000, 1) }}",
    "format width": "{{ '{:>1000000000}'.format(1) }}",
    "format inner width": "{{ '{:>{w}}'.format(1, w=1000000000) }}",
    "format_map width": "{{ '{a:>1000000000}'.format_map({'a': 1}) }}",
    "format filter": "{{ '%1000000000d' | format(1) }}",
    "many colons": "{% set c = ':' * 60000 %}{{ ('{' ~ c).format(1) }}",
    "ljust": "{{ 'x'.ljust(10**10) }}",
    "zfill": "{{ 'x'.zfill(10**10) }}",
    "center": "{{ 'x' | center(10**10) }}",
    "expandtabs": "{{ ('\t' * 1000000).expandtabs(tabsize=900000) }}",
    "indent": "{{ ('\n' * 1000000) | indent(width=900000) }}",
    "indent by text": "{{ ('\n' * 1000000) | indent('x' * 10000) }}",
    "replace": BIG + "{{ big.replace('x', big) }}",
    "replace nothing": BIG + "{{ big.replace('', big) }}",
    "replace filter": BIG + "{{ big | replace(new=big, old='x') }}",
    "join method": BIG + "{{ big.join(range(99999) | map('string')) }}",
    "join filter": BIG + "{{ range(99999) | join(d=big) }}",
    "join of one text": BIG + "{{ ([big] * 100000) | join }}",
    "shared lists written": GROW + "{% set ns.a = [ns.a, ns.a] %}" + END + "{{ ns.a }}",
    "shared lists as JSON": GROW + "{% set ns.a = [ns.a, ns.a] %}" + END + "{{ ns.a | tojson }}",
    "shared lists compared": GROW
    + "{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}"
    + END
    + "{{ ns.a == ns.b }}",
    "endless macro": "{% macro f(x) %}{{ f(x) }}{{ f(x) }}{% endmacro %}{{ f(1) }}",
    "branching macro": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "growing argument": "{% macro f(n, x) %}{% if n %}{{ f(n - 1, [x, x]) }}{% else %}{{ x }}{% endif %}{% endmacro %}"
    "{{ f(60, 'x') }}",
    "endless block": "{% block a %}{{ self.a() }}{{ self.a() }}{% endblock %}",
    "endless recursion": "{% for x in [1, 2] recursive %}{{ loop([1, 2]) }}{% endfor %}",
    "sum of lists": "{{ ([range(9999) | list] * 700) | sum(start=[]) | length }}",
    "output": BIG + "{% for i in range(99999) %}{{ big }}{% endfor %}",
    "output of a macro": BIG
    + "{% macro f() %}{% for i in range(99999) %}{{ big }}{% endfor %}{% endmacro %}{{ f() }}",
    "output set": BIG + "{% set b %}{% for i in range(99999) %}{{ big }}{% endfor %}{% endset %}",
    "batch": "{{ [1] | batch(10**9, 'x') | list }}",
    "slice": "{{ [1] | slice(10**9) | list }}",
    "round": "{{ 1 | round(10**9) }}",
    "range": "{{ range(10**9) | list }}",
    "letters": "{{ ('x' * 8000000) | list | length }}",
    "title": "{{ ('a b ' * 2000000) | title | length }}",
    "wide JSON": "{{ [1, 2] | tojson(indent=10**9) }}",
    "search for each": "{{ range(99999) | select('in', range(99999) | list) | list | length }}",
    "pad for each": "{{ range(99999) | map('center', 1000000) | map('length') | sum }}",
    "lorem ipsum": "{{ lipsum(n=100000) }}",
}


def peak_kilobytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak >> 10 if sys.platform == "darwin" else peak


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_template_is_stopped(name: str) -> None:
    template = ChatTemplate(HOSTILE[name])
    begun, peak = time.thread_time(), peak_kilobytes()
    with pytest.raises(RequestError, match="chat template"):
        template.render([{"role": "user", "content": "hi"}])
    assert time.thread_time() - begun < 3
    assert peak_kilobytes() - peak < 200 << 10


HARMLESS = {
    "a year in a format": (
        "{{ 'Knowledge until December 2023, %s' % 'ok' }}",
        "Knowledge until December 2023, ok",
    ),
    "percent and a number": ("{{ '100%% of 20000 %d' % 5 }}", "100% of 20000 5"),
    "braces and a year": ("{{ 'in 2023: {}'.format('ok') }}", "in 2023: ok"),
    "a large number given to a macro": (
        "{% macro f(x) %}{{ x }}{% endmacro %}{{ f(1700000000000) }}",
        "1700000000000",
    ),
    "a large default": ("{{ missing | default(1700000000000) }}", "1700000000000"),
    "a long search": ("{{ ('a' * 100000).find('b') }}", "-1"),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_a_harmless_template_is_left_alone(name: str) -> None:
    source, expected = HARMLESS[name]
    assert ChatTemplate(source).render([]) == expected


def test_a_conversation_of_a_million_words_renders() -> None:
    template = ChatTemplate("{% for m in messages %}{{ '<' ~ m.role ~ '>' ~ m.content | trim }}{% endfor %}")
    messages = [{"role": "user", "content": "word " * 1000}] * 1000
    assert len(template.render(messages)) == 1000 * (6 + 4999)
