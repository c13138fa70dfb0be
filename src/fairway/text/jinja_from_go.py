"""Compiles an Ollama template (Go) to a Jinja chat template that renders the same bytes.

Jinja's whitespace rules never apply: every tag says + on both sides, and text that could be read as a tag
becomes a string. Go's variables become attributes of one namespace, since Jinja forgets what a loop sets.
"""

from __future__ import annotations

from dataclasses import replace

from fairway.errors import FormatError
from fairway.text.go_template_nodes import (
    Action,
    Break,
    Call,
    If,
    Node,
    Nodes,
    Pipe,
    Range,
    Text,
    Tree,
    With,
)
from fairway.text.jinja_expressions import NIL, ROOT, Expression, Expressions, Scope, as_list, quoted, refused
from fairway.text.jinja_prelude import messages_prelude, turns_prelude
from fairway.text.ollama_template import OllamaTemplate, cut_at_response
from fairway.text.ollama_types import BOOL, CHAT_DATA, NUMBER, TEXT, Type

MAX_JINJA_CHARS = 256 << 10
MAX_INLINED = 16
_SWITCHES = {
    "Think": Expression("(enable_thinking or false)", BOOL),
    "ThinkLevel": Expression("(reasoning_effort or '')", TEXT),
    "IsThinkSet": Expression("(enable_thinking is defined)", BOOL),
}
_CHAT = {
    "System": Expression("go.system", TEXT),
    "Messages": Expression("go.messages", CHAT_DATA["Messages"], length="go.count"),
    "Tools": Expression("(tools or [])", CHAT_DATA["Tools"]),
    "Response": Expression("''", TEXT),
    **_SWITCHES,
}
_TURN = {
    "System": Expression("go.system", TEXT),
    "Prompt": Expression("go.prompt", TEXT),
    "Response": Expression("go.response", TEXT),
    **_SWITCHES,
}


def jinja_from_go(source: str) -> str:
    """The Jinja template.

    Raises `FormatError` for a broken Go template, `UnsupportedError` for what Jinja cannot express.
    """
    template = OllamaTemplate(source)
    try:
        return _compiled(template)
    except RecursionError as error:
        raise FormatError("The Go template nests too deep to be compiled.") from error


def _compiled(template: OllamaTemplate) -> str:
    tree = template.tree
    if template.reads_messages:
        compiler = _Compiler(tree, _CHAT)
        body = compiler.body(tree.body)
        return messages_prelude(compiler.expressions.macros, body)
    compiler = _Compiler(tree, _TURN)
    body, last = compiler.body(tree.body), compiler.body(cut_at_response(tree.body))
    return turns_prelude(compiler.expressions.macros, body, last)


class _Compiler:
    def __init__(self, tree: Tree, data: dict[str, Expression]) -> None:
        self.tree = tree
        self.data = data
        self.expressions = Expressions()
        self.pieces: list[str] = []
        self.size = 0
        self.num_names = 0
        self.inlined = 0

    def body(self, nodes: Nodes) -> str:
        """The Jinja text of the template's own body."""
        self.pieces = []
        root = Expression("go", ROOT)
        self.nodes(nodes, Scope(root, root, {}, self.data))
        return "".join(self.pieces)

    def emit(self, text: str) -> None:
        self.size += len(text)
        if self.size > MAX_JINJA_CHARS:
            raise refused(f"it would have more than {MAX_JINJA_CHARS} characters")
        self.pieces.append(text)

    def tag(self, text: str) -> None:
        self.emit(f"{{%+ {text} +%}}")

    def name(self, what: str) -> str:
        self.num_names += 1
        return f"{what}{self.num_names}"

    def nodes(self, nodes: Nodes, scope: Scope) -> None:
        for node in nodes:
            self.node(node, scope)

    def node(self, node: Node, scope: Scope) -> None:
        if isinstance(node, Text):
            self.text(node.text)
        elif isinstance(node, Action):
            self.action(node, scope)
        elif isinstance(node, If):
            self.conditional(node, scope)
        elif isinstance(node, With):
            self.with_(node, scope)
        elif isinstance(node, Range):
            self.range(node, scope)
        elif isinstance(node, Call):
            self.call(node, scope)
        else:
            self.tag("break" if isinstance(node, Break) else "continue")

    def text(self, text: str) -> None:
        """As it is, unless Jinja would read a tag in it or touch its line ends."""
        is_plain = not any(mark in text for mark in ("{{", "{%", "{#", "\r")) and not text.endswith("{")
        self.emit(text if is_plain else f"{{{{ {quoted(text)} }}}}")

    def action(self, node: Action, scope: Scope) -> None:
        value = self.expressions.pipe(node.pipe, scope)
        if node.pipe.variables:
            self.set_variable(node.pipe, value, scope)
        else:
            self.emit(f"{{{{ {self.expressions.printed(value)} }}}}")

    def set_variable(self, pipe: Pipe, value: Expression, scope: Scope) -> None:
        name = pipe.variables[0]
        if pipe.declares:
            place = Expression(f"go.{self.name('v')}", value.type)
            scope.variables[name] = place
        else:
            place = scope.variables[name]
            if place.type != value.type:
                raise refused(f"the variable {name} changes from {place.type.kind} to {value.type.kind}")
        self.tag(f"set {place.text} = {value.text}")

    def conditional(self, node: If, scope: Scope) -> None:
        inner = replace(scope, variables=dict(scope.variables))
        condition = self.declared(node.pipe, inner).truth
        self.tag(f"if {condition}")
        self.nodes(node.body, replace(inner, variables=dict(inner.variables)))
        if node.otherwise:
            self.tag("else")
            self.nodes(node.otherwise, inner)
        self.tag("endif")

    def with_(self, node: With, scope: Scope) -> None:
        inner = replace(scope, variables=dict(scope.variables))
        value = self.declared(node.pipe, inner)
        dot = Expression(f"go.{self.name('d')}", value.type, value.length)
        self.tag(f"set {dot.text} = {value.text}")
        truth = replace(dot, text=dot.text).truth
        self.tag(f"if {truth}")
        self.nodes(node.body, replace(inner, dot=dot, variables=dict(inner.variables)))
        if node.otherwise:
            self.tag("else")
            self.nodes(node.otherwise, inner)
        self.tag("endif")

    def declared(self, pipe: Pipe, scope: Scope) -> Expression:
        """The value of a branch's pipe; a variable that it declares is set first."""
        value = self.expressions.pipe(pipe, scope)
        if not pipe.variables:
            return value
        self.set_variable(pipe, value, scope)
        return scope.variables[pipe.variables[0]]

    def range(self, node: Range, scope: Scope) -> None:
        value = as_list(self.expressions.pipe(node.pipe, scope))
        item = Expression(self.name("item"), _item_type(value.type))
        key = Expression(self.name("key"), TEXT if value.type.kind == "map" else NUMBER)
        self.tag(_loop(value, key, item))
        inner = replace(scope, dot=item, variables=dict(scope.variables))
        places = (key, item) if len(node.pipe.variables) == 2 else (item,)
        for name, part in zip(node.pipe.variables, places, strict=False):
            source = "loop.index0" if part is key and value.type.kind != "map" else part.text
            self.loop_variable(name, replace(part, text=source), node.pipe.declares, inner)
        self.nodes(node.body, inner)
        if node.otherwise:
            self.tag("else")
            whole = dict.fromkeys(node.pipe.variables, value) if node.pipe.declares else {}
            self.nodes(node.otherwise, replace(scope, variables=scope.variables | whole))
        self.tag("endfor")

    def loop_variable(self, name: str, value: Expression, declares: bool, scope: Scope) -> None:
        if name != "$_":
            pipe = Pipe((), (name,), declares)
            self.set_variable(pipe, value, scope)
        elif declares:
            scope.variables[name] = value

    def call(self, node: Call, scope: Scope) -> None:
        """A named template becomes its body, here."""
        if node.name not in self.tree.named:
            raise refused(f"there is no template {node.name[:40]!r}")
        if self.inlined >= MAX_INLINED:
            raise refused(f"templates call each other more than {MAX_INLINED} deep")
        dot = Expression("none", NIL) if node.pipe is None else self.expressions.pipe(node.pipe, scope)
        if dot.type.kind not in ("map", "struct") or dot.text.startswith("("):
            place = Expression(f"go.{self.name('d')}", dot.type, dot.length)
            self.tag(f"set {place.text} = {dot.text}")
            dot = place
        self.inlined += 1
        self.nodes(self.tree.named[node.name], Scope(dot, dot, {}, scope.data))
        self.inlined -= 1


def _item_type(kind: Type) -> Type:
    if kind.kind in ("list", "map") and kind.of is not None and kind != ROOT:
        return kind.of
    if kind.kind == "number":
        return NUMBER
    if kind is NIL:
        return NIL
    raise refused(f"it ranges over a {kind.kind} whose items are only known when it runs")


def _loop(value: Expression, key: Expression, item: Expression) -> str:
    if value.type.kind == "map":
        return f"for {key.text}, {item.text} in {value.text} | dictsort(true)"
    if value.type.kind == "number":
        return f"for {item.text} in range({value.text})"
    return f"for {item.text} in {'[]' if value.type is NIL else value.text}"
