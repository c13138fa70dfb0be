"""Conversations and templates that the goldens are made of (make_goldens.py) and checked with."""
# ruff: noqa: E501 (a template is easier to read in one piece)

from datetime import datetime
from typing import Any

CLOCK = datetime(2026, 3, 4, 5, 6, 7)
BOS, EOS = "<s>", "</s>"

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": 'The weather <of> a "city" & more, ünïcode',
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "The city"},
                "unit": {"type": "string", "enum": ["c", "f"]},
                "days": {"type": "integer"},
            },
            "required": ["city"],
        },
    },
}
CALL = {
    "id": "abc123XYZ",
    "type": "function",
    "function": {"name": "get_weather", "arguments": {"city": "Zürich", "days": 3}},
}
TEXT_CALL = {**CALL, "function": {"name": "get_weather", "arguments": '{"city": "Zürich"}'}}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def system(content: Any) -> dict[str, Any]:
    return {"role": "system", "content": content}


def result(content: str, name: str = "get_weather") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": "abc123XYZ", "name": name, "content": content}


def parts(*texts: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text} for text in texts]


ASKED = user("Weather?")
TOOLS = {"tools": [TOOL]}

# name -> (messages, further arguments of render)
CONVERSATIONS: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "user": ([user("Hello")], {}),
    "system": ([system("Be brief."), user("Hello")], {}),
    "turns": ([user("Hi"), assistant("Hello!"), user("How are you?\n")], {}),
    "system and turns": (
        [system("Sys\n"), user("Hi"), assistant("Hello!"), user("How?"), assistant(" Fine "), user("ok")],
        {},
    ),
    "ends with the assistant": ([user("Hi"), assistant("Hello!")], {"add_generation_prompt": False}),
    "tools": ([ASKED], TOOLS),
    "system and tools": ([system("You help."), ASKED], {"tools": [TOOL, TOOL]}),
    "call without content": ([ASKED, assistant(None, tool_calls=[CALL]), result('{"t": 21}')], TOOLS),
    "call, result, answer": (
        [ASKED, assistant("", tool_calls=[CALL]), result("21"), assistant("It is 21."), user("thx")],
        TOOLS,
    ),
    "arguments as text": ([ASKED, assistant("", tool_calls=[TEXT_CALL]), result("21")], TOOLS),
    "two calls": (
        [ASKED, assistant("Let me see", tool_calls=[CALL, CALL]), result("1", "a"), result("2", "b")],
        TOOLS,
    ),
    "call without tools": ([ASKED, assistant("", tool_calls=[CALL]), result("21"), user("so?")], {}),
    "empty": ([user("")], {}),
    "empty system": ([system(""), user("x")], {}),
    "unicode and markup": (
        [system("日本語 <b>&amp;</b>"), user("🦙 'a' \"b\" \u200d\x00 {{ x }} {% y %} <|im_end|> \\n")],
        {},
    ),
    "white space": ([user("  \n a \n\n b\t\n ")], {}),
    "parts": ([user(parts("Hello", "World"))], {}),
    "parts everywhere": (
        [system(parts("Be")), user(parts("Hello", " World")), assistant(parts("x")), user("y")],
        {},
    ),
    "image": ([user([{"type": "image"}, {"type": "text", "text": "What?"}])], {}),
    "thinking in the text": ([user("2+2"), assistant("<think>\nhm\n</think>\n\n4"), user("3+3")], {}),
    "reasoning field": ([user("2+2"), assistant("4", reasoning_content="hm"), user("3+3")], {}),
    "other reasoning fields": (
        [user("2+2"), assistant("4", reasoning="hm\nhm"), assistant("5", thinking="x"), user("3+3")],
        {},
    ),
    "thinking off": ([user("2+2")], {"enable_thinking": False}),
    "thinking on": ([user("2+2")], {"enable_thinking": True, "thinking": True}),
    "documents": (
        [user("2+2")],
        {"documents": [{"title": "T", "text": "Doc <1>"}, {"title": "U", "text": "Doc 2"}]},
    ),
    "two users": ([user("a"), user("b")], {}),
    "unknown role": ([{"role": "wizard", "content": "x"}], {}),
    "no content": ([{"role": "user"}], {}),
    "no role": ([{"content": "x"}], {}),
    "no messages": ([], {}),
    "assistant first": ([assistant("x"), user("y")], {}),
    "developer": ([{"role": "developer", "content": "Dev"}, user("x")], {}),
    "built-in tools": (
        [user("x")],
        {"builtin_tools": ["browser", "python", "code_interpreter"], "tools": [TOOL]},
    ),
    "date and effort": ([user("x")], {"date_string": "1 Jan 2020", "reasoning_effort": "high"}),
    "numbers": ([user("x")], {"tools": [{**TOOL, "n": [1, 2.5, True, None, 10**12, 1e-7]}]}),
}

# Written for this suite: each line of a template language that models rely on, once.
TEMPLATES = {
    "plain": "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m['content'] }}{{ eos_token }}\n{% endfor %}",
    "white space control": (
        "{%- for m in messages -%}\n   {%- if loop.first %}  first\n{% endif %}\n   {{ m.content | trim }}\n"
        "   {%- if not loop.last %}\n\n-\n{% endif -%}\n{%- endfor %}\n  {# gone #}\nend\n"
    ),
    "loop control": (
        "{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}"
        "{% if loop.index > 2 %}{% break %}{% endif %}[{{ m.content }}]{% endfor %}"
    ),
    "json": (
        "{{ messages | tojson }}\n{{ tools | tojson(indent=2) }}\n{{ {'b': 1, 'a': '<&\\''} | tojson(sort_keys=true) }}"
        "\n{{ 'é' | tojson(ensure_ascii=true) }}{{ [1, 2] | tojson(separators=(',', ':')) }}"
    ),
    "refusal": (
        "{% for m in messages %}{% if m.role not in ['user', 'assistant'] %}"
        "{{ raise_exception('only user and assistant, not ' ~ m.role) }}{% endif %}{{ m.content }}{% endfor %}"
    ),
    "date": "{{ strftime_now('%d %B %Y, %H:%M') }}{{ date_string | default('none') }}",
    "generation": (
        "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{% set x = 1 %}{{ m.content }}"
        "{{ eos_token }}\n{% endgeneration %}{% else %}{{ m.content }}{% endif %}{{ x is defined }}{% endfor %}"
    ),
    "namespace and macros": (
        "{% macro say(who, what='nothing') %}<{{ who }}>{{ what }}{{ caller() if caller else '' }}</{{ who }}>{% endmacro %}"
        "{% set ns = namespace(n=0, seen=[]) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}"
        "{% set ns.seen = ns.seen + [m.role] %}{{ say(m.role, what=m.content) }}{% endfor %}"
        "{% call say('end') %}!{% endcall %}{{ ns.n }} {{ ns.seen | join(', ') }} {{ dict(a=1, b=ns.n) }}"
    ),
    "filters and tests": (
        "{% for m in messages %}{{ m.content is string }}{{ m.content is mapping }}{{ m.content | length }}"
        "{{ m.role | upper }}{{ m.role | title }}{{ m.content | string | replace('l', 'L') | indent(2) }}"
        "{{ m.role | capitalize }}{{ m.role[0:2] }}{{ m.content | string | e }}{% endfor %}"
        "{{ messages | map(attribute='role') | unique | list }}{{ messages | selectattr('role', 'equalto', 'user') "
        "| list | length }}{{ messages[-1].role if messages }}{{ [3, 1, 2] | sort | sum }}{{ range(3) | list }}"
        "{{ '%s and %5.2f' % ('a', 1.5) }}{{ '{} {x}'.format(1, x=2) }}{{ 7 // 2 ** 2 % 5 ~ 'x' * 3 }}"
        "{{ messages | groupby('role') | map('first') | list }}{{ ' a b '.strip().split(' ') }}{{ none }}{{ missing }}"
    ),
    "items": (
        "{% for t in tools or [] %}{% for k, v in t.function.parameters.properties | items %}{{ k }}={{ v.type }};"
        "{% endfor %}{% for k, v in t.function | dictsort %}{{ k }} {% endfor %}{% endfor %}{{ tools is none }}"
        "{{ documents is none }}{{ add_generation_prompt }}{{ enable_thinking is defined and enable_thinking }}"
    ),
    "reasoning": (
        "{% for m in messages %}{{ m.reasoning_content }}|{{ m.thinking }}|{{ m.get('reasoning', '-') }}\n{% endfor %}"
    ),
    "include": "{% include 'other' %}",
    "insides": "{{ messages.__class__ }}{{ ''.__class__.__mro__ }}",
}
