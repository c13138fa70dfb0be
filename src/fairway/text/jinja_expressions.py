"""Go template operands as Jinja expressions, with the types that Go would know at run time.

Types come from ollama_types.py and flow through fields, variables and functions, so that printing, JSON
and lengths become what Go makes of them. What Jinja cannot express is refused, never approximated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from fairway.errors import UnsupportedError
from fairway.text.go_template_nodes import (
    Command,
    Dot,
    Fields,
    Function,
    Literal,
    Nil,
    Operand,
    Pipe,
    Variable,
)
from fairway.text.jinja_prelude import json_macro, zero_guarded
from fairway.text.ollama_types import ANY, BOOL, NUMBER, TEXT, TEXTS, Type, field_of

NIL = Type("any", name="nil")
_COMPARISONS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_VERB = re.compile(r"%(.)", re.DOTALL)


@dataclass(frozen=True)
class Expression:
    """A Jinja expression that can stand anywhere an operand can."""

    text: str
    type: Type
    length: str | None = None
    """Of a list: an expression for its length that costs nothing."""

    @property
    def truth(self) -> str:
        return "true" if self.type.kind == "struct" else self.text


@dataclass
class Scope:
    """What names mean at one place of the template."""

    dot: Expression
    root: Expression
    variables: dict[str, Expression] = field(default_factory=dict)
    data: Mapping[str, Expression] = field(default_factory=dict)
    """The fields of the map that the template was given."""


ROOT = Type("map", ANY, name="root")


def refused(what: str) -> UnsupportedError:
    return UnsupportedError(
        f"The Ollama template cannot become a Jinja template: {what}.",
        hint="Give the model a chat template in Jinja: a chat_template.jinja beside it.",
    )


def quoted(text: str) -> str:
    """A Jinja string literal."""
    for char, escape in (("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(char, escape)
    return f"'{text}'"


class Expressions:
    """Compiles operands; `macros` collects the names of the macros that they call."""

    def __init__(self) -> None:
        self.macros: set[str] = set()

    def pipe(self, pipe: Pipe, scope: Scope) -> Expression:
        value: Expression | None = None
        for command in pipe.commands:
            value = self.command(command, scope, value)
        assert value is not None
        return value

    def command(self, command: Command, scope: Scope, final: Expression | None) -> Expression:
        first, *rest = command.arguments
        if not isinstance(first, Function):
            if rest or final is not None:
                raise refused("a value that is no function is given arguments")
            return self.operand(first, scope)
        arguments = [self.operand(each, scope) for each in rest]
        if final is not None:
            arguments.append(final)
        return self.call(first.name, arguments)

    def operand(self, operand: Operand, scope: Scope) -> Expression:
        if isinstance(operand, Dot):
            return scope.dot
        if isinstance(operand, Nil):
            return Expression("none", NIL)
        if isinstance(operand, Literal):
            return _literal(operand.value)
        if isinstance(operand, Variable):
            return scope.root if operand.name == "$" else scope.variables[operand.name]
        if isinstance(operand, Function):
            return self.call(operand.name, [])
        if isinstance(operand, Pipe):
            if operand.variables:
                raise refused("a variable is set inside a parenthesis")
            return self.pipe(operand, scope)
        return self.fields(operand, scope)

    def fields(self, operand: Fields, scope: Scope) -> Expression:
        value = self.operand(operand.of, scope)
        for name in operand.names:
            value = _field(value, name, scope.data)
        return value

    def call(self, name: str, arguments: Sequence[Expression]) -> Expression:
        if name in ("and", "or"):
            return _logic(name, arguments)
        if name in ("print", "printf", "println"):
            return self._printing(name, arguments)
        least, most, make = _FUNCTIONS.get(name, (0, 99, None))
        if make is None:
            raise refused(f"Jinja has nothing like {name}")
        if not least <= len(arguments) <= most:
            raise refused(f"{name} is given {len(arguments)} arguments")
        return make(self, arguments)

    def printed(self, value: Expression) -> str:
        """An expression for what Go prints."""
        kind = value.type
        if kind.prints_json and kind.kind != "any":
            return self.json_text(value, nil="{}")
        if kind.kind in ("text", "number"):
            return value.text
        if kind.kind == "bool":
            return f"('true' if {value.text} else 'false')"
        if kind.kind == "list" and kind.of == TEXT:
            return f"('[' ~ {value.text} | join(' ') ~ ']')"
        if kind.kind in ("types", "any"):
            return f"{self.macro(kind.kind)}({value.text})"
        raise refused(f"it prints a whole {kind.name or kind.kind}")

    def json_text(self, value: Expression, nil: str = "null") -> str:
        name = self.macro(json_macro(value.type))
        if value.type.kind == "types":
            raise refused("it writes a property's type as JSON")
        if value.type.kind == "map" and nil == "{}":
            return f"{name}({value.text} or {{}})"
        return f"{name}({value.text})"

    def macro(self, name: str) -> str:
        self.macros.add(name)
        return name

    def _printing(self, name: str, arguments: Sequence[Expression]) -> Expression:
        if name == "printf":
            return Expression(self._printf(arguments), TEXT)
        if name == "println":
            parts = [self._nested(each) for each in arguments]
            return Expression("(" + " ~ ' ' ~ ".join(parts) + " ~ '\\n')", TEXT)
        parts = []
        for at, each in enumerate(arguments):
            if at and "text" not in (each.type.kind, arguments[at - 1].type.kind):
                parts.append("' '")
            parts.append(self._nested(each))
        return Expression("(" + " ~ ".join(parts or ["''"]) + ")", TEXT)

    def _nested(self, value: Expression) -> str:
        """Within print and printf, Go spells a missing value <nil>."""
        if value.type.kind == "any":
            return f"{self.macro('any')}({value.text}, true)"
        return self.printed(value)

    def _printf(self, arguments: Sequence[Expression]) -> str:
        if not arguments or not arguments[0].text.startswith("'"):
            raise refused("printf's format is not written in the template")
        format_text = _unquoted(arguments[0].text)
        values = list(arguments[1:])
        parts, position = [], 0
        for match in _VERB.finditer(format_text):
            parts.append(quoted(format_text[position : match.start()]))
            parts.append(self._verb(match.group(1), values))
            position = match.end()
        if values:
            raise refused("printf has more values than verbs")
        parts.append(quoted(format_text[position:]))
        return "(" + " ~ ".join(part for part in parts if part != "''") + ")" if any(parts) else "''"

    def _verb(self, verb: str, values: list[Expression]) -> str:
        if verb == "%":
            return "'%'"
        if not values:
            raise refused("printf has more verbs than values")
        value = values.pop(0)
        kinds = {"s": ("text",), "d": ("number",), "t": ("bool",)}
        if verb == "v" or value.type.kind in kinds.get(verb, ()) or (verb == "s" and value.type.prints_json):
            return self._nested(value)
        raise refused(f"printf writes a {value.type.kind} with %{verb}")


def _literal(value: str | int | float | bool) -> Expression:
    if isinstance(value, bool):
        return Expression("true" if value else "false", BOOL)
    if isinstance(value, str):
        return Expression(quoted(value), TEXT)
    if isinstance(value, float):
        raise refused("it uses a number with a fraction")
    return Expression(str(value) if value >= 0 else f"({value})", NUMBER)


def _unquoted(literal: str) -> str:
    """What `quoted` made."""
    return re.sub(r"\\(.)", lambda match: {"n": "\n", "r": "\r"}.get(match[1], match[1]), literal[1:-1])


def as_list(value: Expression) -> Expression:
    """JSON Schema's type as the list that it is in Go; JSON has one name as it is."""
    if value.type.kind != "types":
        return value
    return Expression(f"([{value.text}] if {value.text} is string and {value.text} else {value.text})", TEXTS)


def _field(value: Expression, name: str, data: Mapping[str, Expression]) -> Expression:
    kind = value.type
    if kind == ROOT:
        return data.get(name, Expression("none", NIL))
    if kind.kind == "struct":
        found = field_of(kind.name, name)
        if found is None:
            raise refused(f"a {kind.name} has no field {name[:40]}")
        text = f"{value.text}.get('{found.key}')"
        if found.name == "ToolName":
            text = f"({text} or {value.text}.get('name'))"
        return Expression(zero_guarded(text, found.type), found.type)
    if kind.kind == "map":
        return Expression(f"{value.text}.get({quoted(name)})", kind.of or ANY)
    if kind == ANY:
        return Expression(f"{value.text}[{quoted(name)}]", ANY)
    raise refused(f"it asks a {kind.kind} for {name[:40]}")


def _logic(name: str, arguments: Sequence[Expression]) -> Expression:
    if not arguments:
        raise refused(f"{name} is given nothing")
    kinds = {each.type for each in arguments}
    kind = kinds.pop() if len(kinds) == 1 else ANY
    return Expression("(" + f" {name} ".join(each.truth for each in arguments) + ")", kind)


def _require_comparable(left: Expression, right: Expression) -> None:
    basic = {"text", "number", "bool"}
    kinds = {left.type.kind, right.type.kind}
    if NIL not in (left.type, right.type) and (kinds - basic - {"any"} or len(kinds & basic) > 1):
        raise refused("it compares values of different kinds")


def _eq(_: Expressions, arguments: Sequence[Expression]) -> Expression:
    first, *others = arguments
    for other in others:
        _require_comparable(first, other)
    return Expression("(" + " or ".join(f"{first.text} == {each.text}" for each in others) + ")", BOOL)


def _ne(_: Expressions, arguments: Sequence[Expression]) -> Expression:
    _require_comparable(*arguments)
    return Expression(f"({arguments[0].text} != {arguments[1].text})", BOOL)


def _ordering(sign: str) -> Callable[[Expressions, Sequence[Expression]], Expression]:
    def compared(_: Expressions, arguments: Sequence[Expression]) -> Expression:
        _require_comparable(*arguments)
        return Expression(f"({arguments[0].text} {sign} {arguments[1].text})", BOOL)

    return compared


def _not(_: Expressions, arguments: Sequence[Expression]) -> Expression:
    return Expression(f"(not {arguments[0].truth})", BOOL)


def _len(_: Expressions, arguments: Sequence[Expression]) -> Expression:
    """Of text in bytes of UTF-8, which a percent-encoding shows."""
    value = arguments[0]
    if value.length is not None:
        return Expression(value.length, NUMBER)
    if value.type.kind == "text":
        encoded = f"({value.text} | urlencode)"
        return Expression(f"({encoded} | length - 2 * {encoded}.count('%'))", NUMBER)
    value = as_list(value)
    if value.type.kind in ("list", "map"):
        return Expression(f"({value.text} | length)", NUMBER)
    raise refused(f"it asks for the length of a {value.type.kind}")


def _index(_: Expressions, arguments: Sequence[Expression]) -> Expression:
    value, *keys = arguments
    for key in keys:
        value = as_list(value)
        if value.type.kind not in ("list", "map", "any") or value.type is NIL:
            raise refused(f"it asks a {value.type.kind} for a place")
        value = Expression(f"{value.text}[{key.text}]", value.type.of or ANY)
    return value


def _slice(_: Expressions, arguments: Sequence[Expression]) -> Expression:
    value, *places = arguments
    if value.type.kind != "list":
        raise refused("it cuts text by bytes")
    first = places[0].text if places else "0"
    if len(places) < 2:
        length = None if value.length is None else f"({value.length} - {first})"
        return Expression(f"{value.text}[{first}:]", value.type, length)
    return Expression(f"{value.text}[{first}:{places[1].text}]", value.type)


def _json(expressions: Expressions, arguments: Sequence[Expression]) -> Expression:
    return Expression(expressions.json_text(arguments[0]), TEXT)


def _typescript(expressions: Expressions, arguments: Sequence[Expression]) -> Expression:
    if arguments[0].type.name != "Property":
        return Expression("'any'", TEXT)
    return Expression(f"{expressions.macro('typescript')}({arguments[0].text})", TEXT)


def _current_date(_: Expressions, __: Sequence[Expression]) -> Expression:
    return Expression("strftime_now('%Y-%m-%d')", TEXT)


_FUNCTIONS: Mapping[str, tuple[int, int, Callable[[Expressions, Sequence[Expression]], Expression]]] = {
    "eq": (2, 99, _eq),
    "ne": (2, 2, _ne),
    "not": (1, 1, _not),
    "len": (1, 1, _len),
    "index": (1, 9, _index),
    "slice": (1, 3, _slice),
    "json": (1, 1, _json),
    "toTypeScriptType": (1, 1, _typescript),
    "currentDate": (0, 9, _current_date),
    **{name: (2, 2, _ordering(sign)) for name, sign in _COMPARISONS.items()},
}
"""Fewest and most arguments, and who compiles the call."""
