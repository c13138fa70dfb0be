"""The Jinja environment that chat templates run in: what transformers offers, inside limits.

A sandbox without access to Python's insides, with the extras templates expect (tojson without HTML
escapes, raise_exception, strftime_now, break and continue, the generation tag). Loops, calls, filters,
operators and assignments pass through template_limits.py. Nothing here knows messages.
"""
# ruff: noqa: ANN401 (a template's values have no types)

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

from fairway.text import template_limits as limits
from fairway.text.template_filters import limited_filters, limited_tests

_REMOVED_METHODS = frozenset({"encode", "decode", "to_bytes", "from_bytes", "translate", "maketrans"})


class TemplateRefusal(TemplateError):
    """The template called raise_exception."""


class GenerationTag(Extension):
    """{% generation %}...{% endgeneration %} is the assistant's text for training.

    It only scopes, unless the environment has marks to write around it.
    """

    tags = {"generation"}  # noqa: RUF012 (Jinja's own convention)

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        if marks := getattr(self.environment, "generation_marks", None):
            before, after = (nodes.Output([nodes.TemplateData(mark)]) for mark in marks)
            body = [before, *body, after]
        return nodes.Scope(body).set_lineno(line)


class TemplateEnvironment(ImmutableSandboxedEnvironment):
    """Ready to compile chat templates with `from_string`."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(
        self,
        clock: Callable[[], datetime] = datetime.now,
        generation_marks: tuple[str, str] | None = None,
    ) -> None:
        self.generation_marks = generation_marks
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,
            finalize=limits.checked,
            extensions=[GenerationTag, "jinja2.ext.loopcontrols"],
        )
        self.filters = limited_filters(self.filters)
        self.tests = limited_tests(self.tests)
        del self.globals["lipsum"]
        self.globals["raise_exception"] = _raise_exception
        self.globals["strftime_now"] = lambda format: clock().strftime(format)
        self.globals["dict"] = _TemplateDict()
        self.globals["namespace"] = _TemplateNamespace

    # Called by name from the nodes that _Limiter inserts.
    tick = staticmethod(limits.tick)
    checked = staticmethod(limits.checked)

    @staticmethod
    def joined(*parts: Any) -> str:
        """The ~ operator."""
        return "".join(map(str, parts))

    @staticmethod
    def concat(parts: Iterable[str]) -> str:
        """How Jinja joins the output of macros and blocks."""
        pieces = list(parts)
        limits.require_size(sum(map(len, pieces)))
        return "".join(pieces)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        limited: nodes.Template = _Limiter().visit(tree)
        return limited

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return attr not in _REMOVED_METHODS and super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        wrapped = super().wrap_str_format(value)
        return None if wrapped is None else _limited_format(wrapped, value.__self__)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "*":
            limits.check_product(left, right)
        elif operator == "**":
            limits.check_power(left, right)
        elif operator == "%" and isinstance(left, str):
            limits.check_percent_format(left)
            limits.checked(right)
        return limits.checked(super().call_binop(context, operator, left, right))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """Keeps Jinja's odd names so that a template's keyword arguments cannot collide with them."""
        limits.tick()
        owner = getattr(__obj, "__self__", None)
        if isinstance(owner, str):
            if __obj.__name__ == "join" and args:
                args = (list(args[0]), *args[1:])
            limits.check_text_method(owner, __obj.__name__, (*args, *kwargs.values()))
        if __obj is not __self.checked:
            limits.checked([*args, *kwargs.values()])
        return limits.checked(super().call(__context, __obj, *args, **kwargs))


class _Limiter(NodeTransformer):
    """Puts a tick into every loop and a check on every value that gets a name."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802
        self.generic_visit(node)
        node.iter = _call("checked", node.iter)
        node.body = [nodes.ExprStmt(_call("tick")), *node.body]
        return node

    def visit_Assign(self, node: nodes.Assign) -> nodes.Assign:  # noqa: N802
        self.generic_visit(node)
        node.node = _call("checked", node.node)
        return node

    def visit_With(self, node: nodes.With) -> nodes.With:  # noqa: N802
        self.generic_visit(node)
        node.values = [_call("checked", value) for value in node.values]
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        parts = [self.visit(part) for part in node.nodes]
        return _call("joined", *parts)


def _call(name: str, *arguments: nodes.Node) -> nodes.Call:
    line = arguments[0].lineno if arguments else 1
    function = nodes.EnvironmentAttribute(name)
    call = nodes.Call(function, list(arguments), [], None, None)
    call.set_lineno(line)
    return call


def _limited_format(wrapped: Callable[..., str], text: str) -> Callable[..., str]:
    @functools.wraps(wrapped)
    def limited(*args: Any, **kwargs: Any) -> str:
        limits.check_braces_format(text)
        limits.checked([*args, *kwargs.values()])
        return wrapped(*args, **kwargs)

    return limited


def _raise_exception(message: str) -> None:
    raise TemplateRefusal(str(message))


class _TemplateDict:
    """`dict(...)` without the class, whose attributes would lead further."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> Any:
        return dict.fromkeys(*args)


class _TemplateNamespace(Namespace):
    """`namespace(...)` that refuses underscore names, as transformers does."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, *rest = args
        values = dict(*rest, **kwargs)
        for name in values:
            _require_public(name)
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _require_public(name)
        super().__setitem__(name, value)


def _require_public(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"Chat templates cannot set {name!r} on a namespace.")
