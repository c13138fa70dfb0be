"""Parses a Go text/template into the tree of go_template_nodes.py.

Refuses what Go refuses: unknown functions and variables, blocks without an end, values where none can
stand. The rule: templates are strangers' programs, so depth and size are bounded before they are run.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from fairway.errors import FormatError
from fairway.text.go_template_lexer import Tag, Token, broken, lex
from fairway.text.go_template_nodes import (
    Action,
    Branch,
    Break,
    Call,
    Command,
    Continue,
    Dot,
    Fields,
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

MAX_TEMPLATE_CHARS = 256 << 10
MAX_DEPTH = 64
_BRANCHES: Mapping[str, type[Branch]] = {"if": If, "with": With, "range": Range}
_CONSTANTS: Mapping[str, Operand] = {"true": Literal(True), "false": Literal(False), "nil": Nil()}


def parse(source: str, functions: Collection[str]) -> Tree:
    """Raises `FormatError` with the line of what is wrong."""
    if len(source) > MAX_TEMPLATE_CHARS:
        raise FormatError(
            f"The Go template has {len(source)} characters; at most {MAX_TEMPLATE_CHARS} are read."
        )
    return _Parser(source, functions).tree()


class _Parser:
    """Goes through texts and tags once; the tokens of a tag are read by `_Reader`."""

    def __init__(self, source: str, functions: Collection[str]) -> None:
        self.parts = lex(source)
        self.position = 0
        self.functions = functions
        self.variables = ["$"]
        self.named: dict[str, Nodes] = {}
        self.depth = 0
        self.num_loops = 0
        self.line = 1

    def tree(self) -> Tree:
        body, end = self.nodes(())
        assert end is None
        return Tree(body, self.named)

    def nodes(self, ends: tuple[str, ...]) -> tuple[Nodes, _Reader | None]:
        """Up to a tag that begins with one of `ends`; without any, up to the end of the source."""
        nodes: list[Node] = []
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.broken(f"it nests more than {MAX_DEPTH} deep")
        while self.position < len(self.parts):
            part = self.parts[self.position]
            self.position += 1
            if isinstance(part, str):
                nodes.append(Text(part))
                continue
            self.line = part.line
            reader = _Reader(part, self)
            if (word := reader.keyword()) in ends:
                self.depth -= 1
                return tuple(nodes), reader
            if (node := self.node(word, reader)) is not None:
                nodes.append(node)
        if ends:
            raise self.broken("a block has no end")
        self.depth -= 1
        return tuple(nodes), None

    def node(self, word: str, reader: _Reader) -> Node | None:
        """What a tag begins; None for a definition, which prints nothing."""
        if word in _BRANCHES:
            reader.next()
            return self.branch(word, reader)
        if word in ("define", "block"):
            reader.next()
            return self.definition(word, reader)
        if word == "template":
            reader.next()
            return self.call(reader)
        if word in ("break", "continue"):
            reader.next()
            reader.finish()
            if not self.num_loops:
                raise self.broken(f"{word} stands outside a range")
            return Break() if word == "break" else Continue()
        if word in ("end", "else"):
            raise self.broken(f"{word} closes nothing")
        pipe = reader.pipe()
        reader.finish()
        return Action(pipe)

    def branch(self, word: str, reader: _Reader) -> Branch:
        mark = len(self.variables)
        pipe = reader.pipe(in_range=word == "range")
        reader.finish()
        self.num_loops += word == "range"
        body, end = self.nodes(("else", "end"))
        self.num_loops -= word == "range"
        otherwise = self.otherwise(word, end) if end is not None else ()
        del self.variables[mark:]
        return _BRANCHES[word](pipe, body, otherwise)

    def otherwise(self, word: str, end: _Reader) -> Nodes:
        """What follows {{ else }}; {{ else if }} is an if inside it that shares the end."""
        if end.next().text == "end":
            end.finish()
            return ()
        if end.peek() is not None:
            chained = end.next().text
            if chained != word or word == "range":
                raise self.broken(f"else is followed by {chained[:40]!r}")
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise self.broken(f"it nests more than {MAX_DEPTH} deep")
            branch = self.branch(word, end)
            self.depth -= 1
            return (branch,)
        nodes, last = self.nodes(("end",))
        if last is not None:
            last.next()
            last.finish()
        return nodes

    def definition(self, word: str, reader: _Reader) -> Node | None:
        name = reader.text()
        pipe = reader.pipe() if word == "block" else None
        reader.finish()
        outer, self.variables = self.variables, ["$"]
        loops, self.num_loops = self.num_loops, 0
        body, end = self.nodes(("end",))
        if end is not None:
            end.next()
            end.finish()
        self.variables, self.num_loops = outer, loops
        self.named[name] = body
        return Call(name, pipe) if word == "block" else None

    def call(self, reader: _Reader) -> Node:
        name = reader.text()
        pipe = reader.pipe() if reader.peek() is not None else None
        reader.finish()
        return Call(name, pipe)

    def broken(self, why: str) -> FormatError:
        return broken(self.line, why)


class _Reader:
    """The tokens of one tag."""

    def __init__(self, tag: Tag, parser: _Parser) -> None:
        self.tokens = tag.tokens
        self.parser = parser
        self.position = 0
        self.depth = 0

    def peek(self) -> Token | None:
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def next(self) -> Token:
        token = self.peek()
        if token is None:
            raise self.parser.broken("an action ends too early")
        self.position += 1
        return token

    def keyword(self) -> str:
        token = self.peek()
        return token.text if token is not None and token.kind == "word" else ""

    def text(self) -> str:
        token = self.next()
        if token.kind != "string":
            raise self.parser.broken("a template is named by a quoted text")
        return token.text

    def finish(self) -> None:
        if token := self.peek():
            raise self.parser.broken(f"{token.text[:40]!r} stands where nothing was expected")

    def pipe(self, *, in_range: bool = False) -> Pipe:
        variables, declares = self._variables(in_range)
        commands = [self._command(first=True)]
        while (token := self.peek()) is not None and token.kind == "|":
            self.next()
            commands.append(self._command(first=False))
        if declares:
            self.parser.variables += variables
        return Pipe(tuple(commands), variables, declares)

    def _variables(self, in_range: bool) -> tuple[tuple[str, ...], bool]:
        """`$a :=`, `$a =`, and in a range `$a, $b :=`, if they stand here."""
        kinds = [token.kind for token in self.tokens[self.position : self.position + 4]]
        if kinds[:1] == ["variable"] and kinds[1:2] in (["="], [":="]):
            count = 1
        elif in_range and kinds[:3] == ["variable", ",", "variable"] and kinds[3:] in (["="], [":="]):
            count = 2
        else:
            return (), False
        names = tuple(token.text for token in self.tokens[self.position : self.position + 2 * count : 2])
        declares = self.tokens[self.position + 2 * count - 1].kind == ":="
        self.position += 2 * count
        for name in names:
            if not declares:
                self._require_known(name)
        return names, declares

    def _command(self, *, first: bool) -> Command:
        arguments: list[Operand] = []
        while (token := self.peek()) is not None and token.kind not in ("|", ")"):
            if arguments and not token.spaced:
                raise self.parser.broken(f"{token.text[:40]!r} follows a value without a space")
            arguments.append(self._operand())
        if not arguments:
            raise self.parser.broken("a value is missing")
        if not first and not isinstance(arguments[0], Function | Fields):
            raise self.parser.broken("only a function can be given a value by |")
        if isinstance(arguments[0], Nil | Literal | Dot | Variable | Pipe) and len(arguments) > 1:
            raise self.parser.broken("a value that is no function is given arguments")
        return Command(tuple(arguments))

    def _operand(self) -> Operand:
        operand = self._term(self.next())
        names: list[str] = []
        while (token := self.peek()) is not None and token.kind == "field" and not token.spaced:
            names.append(self.next().text[1:])
        if not names:
            return operand
        if isinstance(operand, Fields):
            return Fields(operand.of, (*operand.names, *names))
        if isinstance(operand, Nil | Literal):
            raise self.parser.broken(f"a constant has no field {names[0][:40]!r}")
        return Fields(operand, tuple(names))

    def _term(self, token: Token) -> Operand:
        if token.kind in ("string", "char", "number"):
            return Literal(self._constant(token))
        if token.kind == ".":
            return Dot()
        if token.kind == "field":
            return Fields(Dot(), (token.text[1:],))
        if token.kind == "variable":
            self._require_known(token.text)
            return Variable(token.text)
        if token.kind == "(":
            return self._parenthesis()
        if token.kind == "word":
            if token.text in _CONSTANTS:
                return _CONSTANTS[token.text]
            if token.text in self.parser.functions:
                return Function(token.text)
            raise self.parser.broken(f"there is no function {token.text[:40]!r}")
        raise self.parser.broken(f"{token.text!r} stands where a value was expected")

    def _parenthesis(self) -> Pipe:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.parser.broken(f"it nests more than {MAX_DEPTH} deep")
        pipe = self.pipe()
        if self.next().kind != ")":
            raise self.parser.broken("a parenthesis has no end")
        self.depth -= 1
        return pipe

    def _constant(self, token: Token) -> str | int | float:
        if token.kind == "string":
            return token.text
        if token.kind == "char":
            return ord(token.text) if len(token.text) == 1 else 0xFFFD
        digits = token.text.replace("_", "")
        try:
            is_float = bool(set(digits) & set(".eE")) and "x" not in digits.lower()
            return float(digits) if is_float else _integer(digits)
        except ValueError as error:
            raise self.parser.broken(f"{token.text[:40]!r} is not a number") from error

    def _require_known(self, name: str) -> None:
        if name not in self.parser.variables:
            raise self.parser.broken(f"there is no variable {name[:40]!r}")


def _integer(digits: str) -> int:
    """As Go reads it: a leading zero means octal."""
    unsigned = digits.lstrip("+-")
    base = 8 if len(unsigned) > 1 and unsigned.isdigit() and unsigned[0] == "0" else 0
    value = int(digits, base)
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError(digits)
    return value
