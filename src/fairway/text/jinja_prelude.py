"""What stands before a Go template that became Jinja: Ollama's view of the messages, and its printing.

Written by hand once, or made from the table of Ollama's types; jinja_expressions.py asks for the macros
it needs. Every tag ends in -%} so that none of the lines between them reaches the prompt.
"""

from __future__ import annotations

from fairway.text.ollama_types import STRUCTS, Field, Type

_COLLATE = """\
{%- set go = namespace(system=[], messages=messages, merges=false, count=0) -%}
{%- for message in messages -%}
{%- if message['role'] == 'system' -%}
{%- set go.system = go.system + [message['content'] or ''] -%}
{%- endif -%}
{%- if loop.previtem is defined and message['role'] != 'tool' and loop.previtem['role'] == message['role'] -%}
{%- set go.merges = true -%}
{%- endif -%}
{%- endfor -%}
{%- set go.system = go.system | join('\\n\\n') -%}
{%- if go.merges -%}
{%- set go.messages = [] -%}
{%- for message in messages -%}
{%- set text = message['content'] or '' -%}
{%- set last = go.messages[-1] if go.messages else {} -%}
{%- if message['role'] == 'tool' or last['role'] != message['role'] -%}
{%- set go.messages = go.messages + [dict(message, content=text)] -%}
{%- elif text -%}
{%- set go.messages = go.messages[:-1] + [dict(last, content=last['content'] ~ '\\n\\n' ~ text)] -%}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- set go.count = go.messages | length -%}
"""
_TURN_ENDS = (
    "(message['role'] == 'system' and (go.prompt or go.response))"
    " or (message['role'] == 'user' and go.response)"
)
_NEXT_TURN = (
    "{%+ set go.system = '' %}{%+ set go.prompt = '' %}{%+ set go.response = '' %}{%+ endif -%}"
    "{%- if message['role'] == 'system' -%}{%- set go.system = message['content'] or '' -%}"
    "{%- elif message['role'] == 'user' -%}{%- set go.prompt = message['content'] or '' -%}"
    "{%- elif message['role'] == 'assistant' -%}{%- set go.response = message['content'] or '' -%}"
    "{%- endif -%}{%- endfor +%}"
)
_FIXED = {
    "json_any": (
        "{%- macro json_any(value) -%}"
        "{{- (none if value is undefined else value) | tojson(separators=(',', ':'), sort_keys=true)"
        " | replace('<', '\\\\u003c') | replace('>', '\\\\u003e') | replace('&', '\\\\u0026')"
        " | replace('\\u2028', '\\\\u2028') | replace('\\u2029', '\\\\u2029') -}}"
        "{%- endmacro -%}"
    ),
    "types": (
        "{%- macro types(value) -%}{%- if value is string -%}{{- value -}}"
        "{%- elif value | length == 1 -%}{{- value[0] -}}"
        "{%- elif value -%}{{- '[' ~ value | join(' ') ~ ']' -}}{%- endif -%}{%- endmacro -%}"
    ),
    "any": (
        "{%- macro any(value, nested=false) -%}"
        "{%- if value is undefined or value is none -%}{{- '<nil>' if nested else '<no value>' -}}"
        "{%- elif value is boolean -%}{{- 'true' if value else 'false' -}}"
        "{%- elif value is mapping -%}{{- 'map[' -}}{%- for key, item in value | dictsort(true) -%}"
        "{{- ('' if loop.first else ' ') ~ key ~ ':' ~ any(item, true) -}}{%- endfor -%}{{- ']' -}}"
        "{%- elif value is sequence and value is not string -%}{{- '[' -}}{%- for item in value -%}"
        "{{- ('' if loop.first else ' ') ~ any(item, true) -}}{%- endfor -%}{{- ']' -}}"
        "{%- else -%}{{- value -}}{%- endif -%}{%- endmacro -%}"
    ),
    "typescript_name": (
        "{%- macro typescript_name(name) -%}{{- {'string': 'string', 'number': 'number', 'integer': 'number',"
        " 'boolean': 'boolean', 'array': 'any[]', 'object': 'Record<string, any>', 'null': 'null'}[name]"
        " or 'any' -}}{%- endmacro -%}"
    ),
    "typescript": (
        "{%- macro typescript(value) -%}"
        "{%- if value['anyOf'] -%}{%- for option in value['anyOf'] -%}"
        "{{- ('' if loop.first else ' | ') ~ typescript(option) -}}{%- endfor -%}"
        "{%- elif value['type'] is string -%}{{- typescript_name(value['type']) -}}"
        "{%- elif value['type'] -%}{%- for name in value['type'] -%}"
        "{{- ('' if loop.first else ' | ') ~ typescript_name(name) -}}{%- endfor -%}"
        "{%- else -%}{{- 'any' -}}{%- endif -%}{%- endmacro -%}"
    ),
}
_NEEDS = {"typescript": ("typescript_name",)}


_BEGIN = "{%- set prompt +%}"
_END = (
    "{%+ endset -%}{%- set bos = (bos_token or '') if adds_bos is undefined or adds_bos else '' -%}"
    "{{- ('' if prompt.startswith(bos) else bos) ~ prompt -}}"
)
"""Ollama's templates leave BOS to the tokenizer, Jinja's templates write it themselves. `adds_bos` is said
by our loader; without it, a tokenizer that has the token is taken to add it."""


def messages_prelude(macros: set[str], body: str) -> str:
    """For templates that read .Messages: go.system, go.messages and go.count."""
    return _lines(macros, _COLLATE) + _BEGIN + body + _END


def turns_prelude(macros: set[str], body: str, last: str) -> str:
    """For templates with .Prompt: `body` after every complete turn, and `last` for the open one."""
    return (
        _lines(macros, _COLLATE)
        + _BEGIN
        + "{%- set go.system = '' -%}{%- set go.prompt = '' -%}{%- set go.response = '' -%}"
        + "{%- for message in go.messages -%}"
        + "{%- if "
        + _TURN_ENDS
        + " +%}"
        + body
        + _NEXT_TURN
        + last
        + _END
    )


def _lines(macros: set[str], collate: str) -> str:
    return "\n".join([*_macros(macros), collate.strip()])


def json_macro(kind: Type) -> str:
    """The name of the macro that writes values of this type as JSON."""
    if kind.kind == "struct":
        return f"json_{kind.name.lower()}"
    if kind.kind in ("list", "map") and kind.of is not None and kind.of.kind == "struct":
        return f"json_{kind.kind}_of_{kind.of.name.lower()}"
    return "json_any"


def _macros(names: set[str]) -> list[str]:
    """Their texts, and of those that they need."""
    made: dict[str, str] = {}
    wanted = sorted(names)
    while wanted:
        name = wanted.pop()
        if name in made:
            continue
        made[name] = _FIXED.get(name) or _json_text(name)
        wanted += _NEEDS.get(name, ())
        if name.startswith("json_") and name != "json_any":
            wanted += ["json_any", *_json_needs(name)]
    return [made[name] for name in sorted(made)]


def _json_needs(name: str) -> list[str]:
    if (struct := _struct(name)) is not None:
        return [json_macro(field.type) for field in STRUCTS[struct]]
    return [f"json_{name.rpartition('_')[2]}"]


def _struct(name: str) -> str | None:
    return next((each for each in STRUCTS if name == f"json_{each.lower()}"), None)


def _json_text(name: str) -> str:
    if (struct := _struct(name)) is not None:
        members = "".join(map(_member, STRUCTS[struct]))
        text = f"{{%- set text -%}}{members}{{%- endset -%}}{{{{- '{{' ~ text[1:] ~ '}}' -}}}}"
    else:
        one = f"json_{name.rpartition('_')[2]}"
        text = _MAP.format(one=one) if name.startswith("json_map") else _LIST.format(one=one)
    return f"{{%- macro {name}(value) -%}}{text}{{%- endmacro -%}}"


_MAP = (
    "{{%- if value is not mapping -%}}{{{{- 'null' -}}}}{{%- else -%}}{{{{- '{{' -}}}}"
    "{{%- for key, item in value | dictsort(true) -%}}"
    "{{{{- ('' if loop.first else ',') ~ json_any(key) ~ ':' ~ {one}(item) -}}}}"
    "{{%- endfor -%}}{{{{- '}}' -}}}}{{%- endif -%}}"
)
_LIST = (
    "{{{{- '[' -}}}}{{%- for item in value -%}}{{{{- ('' if loop.first else ',') ~ {one}(item) -}}}}"
    "{{%- endfor -%}}{{{{- ']' -}}}}"
)


def _member(field: Field) -> str:
    """A field with a comma before it; the first comma is cut off."""
    value = f"value.get('{field.key}')"
    given = value if field.type.kind in ("map", "types") else zero_guarded(value, field.type)
    text = f"{{{{- ',\"{field.key}\":' ~ {json_macro(field.type)}({_one_type(given, field.type)}) -}}}}"
    return f"{{%- if {value} -%}}{text}{{%- endif -%}}" if field.omits_empty else text


def _one_type(value: str, kind: Type) -> str:
    """A list of one type is written as that type."""
    if kind.kind != "types":
        return value
    return f"{value}[0] if {value} is not string and {value} | length == 1 else {value}"


ZEROS = {
    "text": "''", "number": "0", "bool": "false", "list": "[]", "map": "{}", "struct": "{}", "types": "''",
}  # fmt: skip


def zero_guarded(value: str, kind: Type) -> str:
    """The value, or Go's zero value of its type where JSON has none."""
    return f"({value} or {ZEROS[kind.kind]})" if kind.kind in ZEROS else value
