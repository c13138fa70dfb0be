"""Jinja's filters and tests, wrapped so that none of them can be made to run or grow without end.

Each call first weighs what it is given (template_limits.py); the few filters that return far more than
they are given have a check of their own in the table at the end.
"""
# ruff: noqa: ANN401 (a template's values have no types)

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import nodes
from jinja2.environment import Environment
from jinja2.runtime import Context

from fairway.text import template_limits as limits

_JINJA_OWN = (Context, Environment, nodes.EvalContext)
# No chat template needs these, and each can be made to run for minutes on a few characters.
_REMOVED = frozenset({"pprint", "striptags", "urlize", "wordwrap", "xmlattr"})


def limited_filters(filters: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Jinja's filters without the removed ones, and with transformers' tojson."""
    kept = {name: function for name, function in filters.items() if name not in _REMOVED}
    kept["tojson"] = _to_json
    return {name: _limited_filter(name, function) for name, function in kept.items()}


def limited_tests(tests: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _ticking(function) for name, function in tests.items()}


def _ticking(function: Callable[..., Any]) -> Callable[..., Any]:
    """Keeps Jinja's markers on the function, as every wrapper here must."""

    @functools.wraps(function)
    def ticking(*args: Any, **kwargs: Any) -> Any:
        limits.tick()
        return function(*args, **kwargs)

    return ticking


def _limited_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter with its arguments and its result weighed."""
    check = _FILTER_CHECKS.get(name)
    signature = None if check is None else inspect.signature(function)

    @functools.wraps(function)
    def limited(*args: Any, **kwargs: Any) -> Any:
        limits.tick()
        limits.checked([arg for arg in (*args, *kwargs.values()) if not isinstance(arg, _JINJA_OWN)])
        if check is not None and signature is not None:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            check(bound.arguments)
            args, kwargs = bound.args, bound.kwargs
        return limits.checked(function(*args, **kwargs))

    return limited


def _check_join(arguments: dict[str, Any]) -> None:
    """What is joined may be a generator; it is only walked once more if it is a list."""
    arguments["value"] = list(arguments["value"])
    limits.check_join(arguments["d"], arguments["value"])


def _check_sum(arguments: dict[str, Any]) -> None:
    if not isinstance(arguments["start"], int | float):
        raise limits.LimitReached("it sums something other than numbers")


def _check_words(arguments: dict[str, Any]) -> None:
    limits.require_size(len(str(arguments["s"])) * 16)


def _check_counts(arguments: dict[str, Any]) -> None:
    limits.check_counts(arguments.values())


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: Any = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    """As transformers has it: Jinja's own would escape HTML."""
    if (isinstance(indent, int) and indent > 32) or (isinstance(indent, str) and len(indent) > 32):
        raise limits.LimitReached("it indents JSON by more than 32")
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


_FILTER_CHECKS: dict[str, Callable[[dict[str, Any]], None]] = {
    "batch": _check_counts,
    "center": _check_counts,
    "format": lambda arguments: limits.check_percent_format(arguments["value"]),
    "indent": lambda arguments: limits.check_indent(arguments["s"], arguments["width"]),
    "join": _check_join,
    "replace": lambda arguments: limits.check_replacement(arguments["s"], arguments["old"], arguments["new"]),
    "round": _check_counts,
    "slice": _check_counts,
    "sum": _check_sum,
    "title": _check_words,
    "truncate": _check_counts,
    "wordcount": _check_words,
}
