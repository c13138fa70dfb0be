"""From a body to a checked request, and from a failed check to one sentence a person can act on.

The sentence names the field, the value it had, and what works. Only the first failure is told:
fixing one at a time is how people read errors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError, to_json

from fairway.errors import RequestError

M = TypeVar("M", bound=BaseModel)
SHOWN_CHARACTERS = 60

# What works, by pydantic's error type; {name} is filled from the error's context.
WHAT_WORKS = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "literal_error": "{expected}",
    "int_parsing": "a whole number",
    "extra_forbidden": "left out, for there is no such field",
    "string_pattern_mismatch": "a text that matches {pattern}",
    "finite_number": "a finite number",
    "greater_than": "above {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "below {lt:g}",
    "less_than_equal": "at most {le:g}",
    "too_short": "at least {min_length} long",
    "too_long": "at most {max_length} long",
    "string_too_short": "at least {min_length} long",
    "string_too_long": "at most {max_length} long",
}


def validate(model: type[M], value: object) -> M:
    """`value` as a `model`, or a `RequestError` with one sentence."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _request_error(error) from None


def must_be(what: str) -> PydanticCustomError:
    """For validators of our own: the sentence ends with `what`."""
    return PydanticCustomError("must_be", "{what}", {"what": what})


def described(what: str) -> Callable[[Any, Callable[[Any], Any]], Any]:
    """A wrap validator that says `what` works instead of listing each member of a union."""

    def check(value: Any, inner: Callable[[Any], Any]) -> Any:  # noqa: ANN401
        try:
            return inner(value)
        except ValidationError:
            raise must_be(what) from None

    return check


def field_path(location: tuple[int | str, ...]) -> str:
    """("messages", 0, "role") -> messages[0].role; members of a union are tagged ~ and left out."""
    path = ""
    for part in location:
        if isinstance(part, str) and part.startswith("~"):
            continue
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.lstrip(".")


def shown(value: object) -> str:
    """A value as JSON, short enough for a sentence."""
    text = to_json(value, inf_nan_mode="constants", serialize_unknown=True).decode("utf-8", "replace")
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "..."


def _request_error(error: ValidationError) -> RequestError:
    first = error.errors(include_url=False)[0]
    path = field_path(first["loc"])
    if first["type"] == "missing":
        return RequestError(f"The field {path} is missing.", param=path)
    works = _what_works(first["type"], first.get("ctx", {}), first["msg"])
    return RequestError(f"{path} is {shown(first['input'])}; it must be {works}.", param=path)


def _what_works(kind: str, context: Mapping[str, Any], message: str) -> str:
    template = WHAT_WORKS.get(kind)
    return template.format(**context) if template is not None else message
