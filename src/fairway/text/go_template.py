"""Renders a Go text/template: an interpreter of the language that Ollama's templates are written in.

Only what the parser drew is walked; nothing reaches outside. Steps, output and depth are bounded
(template_limits.py), so a hostile template fails within about a second. Ollama's data is
ollama_template.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from fairway.errors import RequestError
from fairway.text import template_limits as limits
from fairway.text.go_template_functions import NAMES, SHORT_CIRCUIT, functions
from fairway.text.go_template_nodes import (
    Action,
    Call,
    Command,
    Continue,
    Dot,
    Function,
    If,
    Literal,
    Nil,
    Node,
    Nodes,
    Operand,
    Pipe,
    Range,
    Text,
    Tree,
    Variable,
    With,
)
from fairway.text.go_template_parser import parse
from fairway.text.go_template_values import Struct, Value, ValueFailure, is_true, printed

MAX_CALL_DEPTH = 64


class GoTemplate:
    """A parsed template; rendering is thread-safe. Raises `FormatError` where the source is broken."""

    def __init__(self, source: str, *, clock: Callable[[], datetime] = datetime.now) -> None:
        self.source = source
        self.tree = parse(source, NAMES)
        self._functions = functions(clock)

    def execute(self, data: Mapping[str, Value], tree: Tree | None = None) -> str:
        """The text for `data`; `tree` is a changed copy of the template's own.

        Raises `RequestError` where the template fails on it or uses too much.
        """
        limits.start_clock(0)
        run = _Run(tree or self.tree, self._functions, data)
        try:
            run.nodes(run.tree.body, data)
        except (ValueFailure, TypeError) as error:
            reason = str(error) if isinstance(error, ValueFailure) else "it calls a function wrongly"
            raise RequestError(
                f"The model's Go template cannot render these messages: {reason}.", param="messages"
            ) from error
        except (limits.LimitReached, RecursionError, MemoryError) as error:
            reason = str(error) or "it goes too deep"
            raise RequestError(f"The model's Go template was stopped: {reason}.", param="messages") from error
        return "".join(run.output)


class _LeaveLoop(Exception):
    """{{ break }}; {{ continue }} if `goes_on`."""

    def __init__(self, goes_on: bool) -> None:
        super().__init__()
        self.goes_on = goes_on


class _Run:
    """One rendering: the output so far and the variables that are visible, innermost last."""

    def __init__(self, tree: Tree, functions: Mapping[str, Callable[..., Value]], data: Value) -> None:
        self.tree = tree
        self.functions = functions
        self.output: list[str] = []
        self.size = 0
        self.variables: list[tuple[str, Value]] = [("$", data)]
        self.depth = 0

    def nodes(self, nodes: Nodes, dot: Value) -> None:
        for node in nodes:
            limits.tick()
            self.node(node, dot)

    def node(self, node: Node, dot: Value) -> None:
        if isinstance(node, Text):
            self.write(node.text)
        elif isinstance(node, Action):
            value = self.pipe(node.pipe, dot)
            if not node.pipe.variables:
                self.write(printed(value))
        elif isinstance(node, If | With):
            self.branch(node, dot)
        elif isinstance(node, Range):
            self.range(node, dot)
        elif isinstance(node, Call):
            self.call(node, dot)
        else:
            raise _LeaveLoop(isinstance(node, Continue))

    def write(self, text: str) -> None:
        self.size += len(text)
        limits.require_size(self.size)
        self.output.append(text)

    def branch(self, node: If | With, dot: Value) -> None:
        mark = len(self.variables)
        value = self.pipe(node.pipe, dot)
        if is_true(value):
            self.nodes(node.body, value if isinstance(node, With) else dot)
        else:
            self.nodes(node.otherwise, dot)
        del self.variables[mark:]

    def range(self, node: Range, dot: Value) -> None:
        mark = len(self.variables)
        value = self.value(node.pipe, dot)
        names, declares = node.pipe.variables, node.pipe.declares
        if declares:
            self.variables += [(name, value) for name in names]
        inner = len(self.variables)
        items = _items(value)
        for key, item in items:
            limits.tick()
            for name, part in zip(names, (key, item) if len(names) == 2 else (item,), strict=False):
                self.assign(name, part)
            try:
                self.nodes(node.body, item)
            except _LeaveLoop as leave:
                if not leave.goes_on:
                    break
            finally:
                del self.variables[inner:]
        if not items:
            self.nodes(node.otherwise, dot)
        del self.variables[mark:]

    def call(self, node: Call, dot: Value) -> None:
        if node.name not in self.tree.named:
            raise ValueFailure(f"there is no template {node.name[:40]!r}")
        if self.depth >= MAX_CALL_DEPTH:
            raise limits.LimitReached(f"templates call each other more than {MAX_CALL_DEPTH} deep")
        given = None if node.pipe is None else self.pipe(node.pipe, dot)
        outer, self.variables = self.variables, [("$", given)]
        self.depth += 1
        self.nodes(self.tree.named[node.name], given)
        self.depth -= 1
        self.variables = outer

    def pipe(self, pipe: Pipe, dot: Value) -> Value:
        """The value; declared variables get it."""
        value = self.value(pipe, dot)
        for name in pipe.variables:
            if pipe.declares:
                self.variables.append((name, value))
            else:
                self.assign(name, value)
        return value

    def value(self, pipe: Pipe, dot: Value) -> Value:
        value, given = None, False
        for command in pipe.commands:
            value = self.command(command, dot, (value,) if given else ())
            given = True
        return value

    def assign(self, name: str, value: Value) -> None:
        for place in range(len(self.variables) - 1, -1, -1):
            if self.variables[place][0] == name:
                self.variables[place] = (name, limits.checked(value) if isinstance(value, str) else value)
                return

    def command(self, command: Command, dot: Value, final: tuple[Value, ...]) -> Value:
        limits.tick()
        first, *rest = command.arguments
        if not isinstance(first, Function):
            if rest or final:
                raise ValueFailure("a value that is no function is given arguments")
            return self.operand(first, dot)
        if first.name in SHORT_CIRCUIT:
            return self.logic(first.name == "and", rest, dot, final)
        arguments = [self.operand(argument, dot) for argument in rest]
        return self.functions[first.name](*arguments, *final)

    def logic(self, is_and: bool, operands: Sequence[Operand], dot: Value, final: tuple[Value, ...]) -> Value:
        """The first operand that decides, else the last; what follows is not evaluated."""
        if not operands and not final:
            raise ValueFailure("and, or are given nothing")
        value: Value = None
        for operand in operands:
            value = self.operand(operand, dot)
            if is_true(value) is not is_and:
                return value
        return final[0] if final else value

    def operand(self, operand: Operand, dot: Value) -> Value:
        if isinstance(operand, Dot):
            return dot
        if isinstance(operand, Literal):
            return operand.value
        if isinstance(operand, Nil):
            return None
        if isinstance(operand, Variable):
            return next(value for name, value in reversed(self.variables) if name == operand.name)
        if isinstance(operand, Function):
            return self.command(Command((operand,)), dot, ())
        if isinstance(operand, Pipe):
            return self.pipe(operand, dot)
        value = self.operand(operand.of, dot)
        for name in operand.names:
            value = field(value, name)
        return value


def field(value: Value, name: str) -> Value:
    """`value.name`: a struct's field, or what a map has under that key."""
    if isinstance(value, Struct):
        if name not in value.fields:
            raise ValueFailure(f"a {value.type.name} has no field {name[:40]}")
        return value.fields[name]
    if isinstance(value, Mapping):
        return value.get(name)
    what = "nothing" if value is None else "a value without fields"
    raise ValueFailure(f"it asks {what} for {name[:40]}")


def _items(value: Value) -> list[tuple[Value, Value]]:
    """What a range goes through: places of a list, sorted keys of a map, the numbers below n."""
    if value is None:
        return []
    if isinstance(value, Mapping):
        return [(key, value[key]) for key in sorted(value)]
    if isinstance(value, list | tuple):
        return list(enumerate(value))
    if type(value) is int:
        limits.check_counts([value])
        return [(number, number) for number in range(value)]
    raise ValueFailure("it ranges over something that is no list")
