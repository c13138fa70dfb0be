"""Values inside a Go template: how they print, count as true, compare and become JSON.

Text, whole numbers, floats, booleans and None stand for Go's own; structs, typed lists and maps come
from the table of ollama_types.py. Sources: Go's text/template, fmt and encoding/json.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from fairway.text.ollama_types import STRUCTS, Type

Value: TypeAlias = Any
"""str, int, float, bool, None, Struct, TypedList, TypedMap, TypeNames, or plain JSON lists and maps."""
_TYPESCRIPT = {
    "string": "string",
    "number": "number",
    "integer": "number",
    "boolean": "boolean",
    "array": "any[]",
    "object": "Record<string, any>",
    "null": "null",
}
_HTML = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


class ValueFailure(Exception):
    """An operation that Go would refuse for these values; the message is the reason."""


@dataclass(frozen=True)
class Struct:
    type: Type
    fields: Mapping[str, Value]
    """By their Go names; every field of the struct is there."""


class TypedList(list[Value]):
    """A list that prints as JSON."""


class TypedMap(dict[str, Value]):
    """A map that prints as JSON."""


class NilMap(TypedMap):
    """A map that was not given: {} when printed, null inside JSON."""


class TypeNames(tuple[str, ...]):
    """JSON Schema's "type": one name, or several."""


def from_json(kind: Type, value: object) -> Value:
    """A Go value of this type; what is missing or of another type becomes the zero value."""
    if kind.kind == "struct":
        given = value if isinstance(value, Mapping) else {}
        fields = STRUCTS[kind.name]
        return Struct(kind, {field.name: from_json(field.type, given.get(field.key)) for field in fields})
    if kind.kind == "list" and kind.of is not None:
        items = [from_json(kind.of, item) for item in value] if isinstance(value, list | tuple) else []
        return TypedList(items) if kind.prints_json else items
    if kind.kind == "map" and kind.of is not None:
        if not isinstance(value, Mapping):
            return NilMap() if kind.prints_json else {}
        made = {str(key): from_json(kind.of, item) for key, item in value.items()}
        return TypedMap(made) if kind.prints_json else made
    return _scalar(kind, value)


def _scalar(kind: Type, value: object) -> Value:
    if kind.kind == "text":
        return value if isinstance(value, str) else ""
    if kind.kind == "number":
        return value if type(value) in (int, float) else 0
    if kind.kind == "bool":
        return value is True
    if kind.kind == "types":
        names = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        return TypeNames(name for name in names if isinstance(name, str))
    return _floats(value)


def _floats(value: object) -> Value:
    """JSON's numbers are float64 in Go, where no type says otherwise."""
    if type(value) is int:
        return float(value) if abs(value) < 1 << 1000 else math.inf
    if isinstance(value, Mapping):
        return {str(key): _floats(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_floats(item) for item in value]
    return value


def is_true(value: Value) -> bool:
    """Empty text, lists and maps, zero, false and nil are not; a struct always is."""
    return isinstance(value, Struct) or bool(value)


def printed(value: Value, *, nested: bool = False) -> str:
    """As fmt.Sprint prints it."""
    if value is None:
        return "<nil>" if nested else "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return printed_float(value)
    if isinstance(value, NilMap):
        return "{}"
    if isinstance(value, TypedList | TypedMap) or (isinstance(value, Struct) and value.type.prints_json):
        return to_json(value)
    if isinstance(value, TypeNames):
        return value[0] if len(value) == 1 else f"[{' '.join(value)}]" if value else ""
    if isinstance(value, Struct):
        raise ValueFailure(f"it prints a whole {value.type.name}")
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{printed(value[key], nested=True)}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(printed(item, nested=True) for item in value)}]"
    return str(value)


def printed_float(value: float) -> str:
    """Go's %v: the shortest digits, with an exponent below 1e-4 and from 1e6 on."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return _shortest(value, low=-4, high=6)


def _shortest(value: float, *, low: int, high: int) -> str:
    """The shortest digits; with an exponent (of two digits) outside 10**low <= |value| < 10**high."""
    digits, exponent = _digits(value)
    sign = "-" if math.copysign(1, value) < 0 else ""
    if value and not low <= exponent < high:
        point = f"{digits[0]}.{digits[1:]}" if len(digits) > 1 else digits
        return f"{sign}{point}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    whole = digits[: exponent + 1].ljust(exponent + 1, "0")
    return f"{sign}{whole}" + (f".{digits[exponent + 1 :]}" if len(digits) > exponent + 1 else "")


def _digits(value: float) -> tuple[str, int]:
    """The shortest digits that read back as `value`, and the power of ten of the first."""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    leading = len(whole + fraction) - len(digits)
    power = int(exponent or 0) + len(whole) - 1 - leading
    return digits.rstrip("0") or "0", power if digits.rstrip("0") else 0


def to_json(value: Value) -> str:
    """As encoding/json writes it: no spaces, keys of maps sorted, <, > and & escaped."""
    return _json(value).translate(_HTML)


def _json(value: Value) -> str:
    if isinstance(value, Struct):
        members = [
            f'"{field.key}":{_json(value.fields[field.name])}'
            for field in STRUCTS[value.type.name]
            if not (field.omits_empty and not is_true(value.fields[field.name]))
        ]
        return "{" + ",".join(members) + "}"
    if isinstance(value, TypeNames):
        return _json(value[0] if len(value) == 1 else list(value))
    if isinstance(value, NilMap):
        return "null"
    if isinstance(value, dict):
        return "{" + ",".join(f"{_json(key)}:{_json(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_json, value)) + "]"
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueFailure("JSON has no infinity and no NaN")
        return _json_float(value)
    return json.dumps(value, ensure_ascii=False)


def _json_float(value: float) -> str:
    text = _shortest(value, low=-6, high=21)
    return text.replace("e-0", "e-")


def typescript(value: Value) -> str:
    """The TypeScript type of a tool's property, as Ollama's toTypeScriptType gives it."""
    if not isinstance(value, Struct) or value.type.name != "Property":
        return "any"
    if value.fields["AnyOf"]:
        return " | ".join(typescript(option) for option in value.fields["AnyOf"])
    return " | ".join(_TYPESCRIPT.get(name, "any") for name in value.fields["Type"]) or "any"


def equal(left: Value, right: Value) -> bool:
    """Go's eq: values of different kinds are not compared, save with nil."""
    if left is None or right is None:
        return left is right
    _require_same_kind(left, right)
    return bool(left == right)


def less(left: Value, right: Value) -> bool:
    if left is None or right is None or isinstance(left, bool):
        raise ValueFailure("it orders values that have no order")
    _require_same_kind(left, right)
    if isinstance(left, str):
        return bool(left.encode("utf-8", "replace") < right.encode("utf-8", "replace"))
    return bool(left < right)


def _require_same_kind(left: Value, right: Value) -> None:
    kinds = [
        next((kind for kind in (bool, int, float, str) if isinstance(value, kind)), None)
        for value in (left, right)
    ]
    if kinds[0] is None or kinds[0] is not kinds[1]:
        raise ValueFailure("it compares values of different kinds")
