"""Settings: file < environment < flag, into one frozen dataclass per layer.

A layer declares its settings as a frozen dataclass whose fields carry their default, help and
bounds (`setting`). This module fills such a class from `~/.config/fairway/config.toml` (or the
file FAIRWAY_CONFIG names), from FAIRWAY_<SECTION>_<KEY>, and from flags; it knows no section
itself. The rule: an unknown key or an impossible value is an error that names it and one that works.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeVar, get_args, get_origin, get_type_hints

from fairway.errors import SettingsError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PREFIX = "FAIRWAY_"
# Variables that are read where they are used and belong to no section.
STANDALONE = frozenset({"FAIRWAY_CONFIG", "FAIRWAY_DEBUG", "FAIRWAY_ISA"})
TEST_PREFIX = "FAIRWAY_TEST_"
TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
MOST_BYTES = 16 << 20
TOML_HINT = 'A table begins with [NAME] on a line of its own; a text stands in quotes: name = "text".'
FALSE_WORDS = frozenset({"0", "false", "no", "off"})


class SettingsClass(Protocol):
    """A frozen dataclass all of whose fields have defaults."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


S = TypeVar("S", bound=SettingsClass)


def setting(
    default: Any,  # noqa: ANN401  the field's own annotation types it
    help_text: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
) -> Any:  # noqa: ANN401
    """A dataclass field with what a flag and an error message need to know about it."""
    metadata = {"help": help_text, "minimum": minimum, "maximum": maximum}
    return dataclasses.field(default=default, metadata=metadata)


def load(
    sections: Mapping[str, type[Any]],
    wanted: type[S],
    *,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> S:
    """The settings of one layer. `sections` names every section there is, so that a typing error
    anywhere in the file or the environment is found. A flag that is None is not set.
    """
    environment = os.environ if environment is None else environment
    path = config_path(environment) if file is None else file
    section = next(name for name, cls in sections.items() if cls is wanted)
    values = _from_file(sections, path).get(section, {})
    values |= _from_environment(sections, environment).get(section, {})
    values |= _from_flags(wanted, flags or {})
    return wanted(**values)


def read_table(path: Path) -> dict[str, Any]:
    """A TOML file. Raises `SettingsError` naming it."""
    return parse_table(read_text(path), str(path))


def read_text(path: Path) -> str:
    """A file that people write, with or without a byte order mark. Raises `SettingsError` naming it."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        hint = "Name a TOML file." if path.is_dir() else "Check its name and whether it may be read."
        raise SettingsError(f"{path} cannot be read: {error.strerror}.", hint=hint) from error
    if len(data) > MOST_BYTES:
        raise SettingsError(
            f"{path} is larger than {MOST_BYTES >> 20} MiB.", hint="Such files hold text that people write."
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{path} is not UTF-8 text (line {line}).", hint="Save it as UTF-8.") from error


def parse_table(text: str, name: str) -> dict[str, Any]:
    """A TOML text. Raises `SettingsError` naming where it is from."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{name} is not valid TOML: {error}.", hint=TOML_HINT) from error
    except RecursionError:
        raise SettingsError(f"{name} is nested too deeply.", hint=TOML_HINT) from None


def checked_table(cls: type[Any], table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The fields of a settings class that a flat table sets; `where` is "in recipe.toml"."""
    fields = types_of(cls)
    for key in table:
        if key not in fields:
            raise _unknown(key, fields, where)
    return {key: _checked(cls, key, value, f"{key} {where}") for key, value in table.items()}


def config_path(environment: Mapping[str, str]) -> Path:
    """Where the settings file is looked for."""
    if named := environment.get("FAIRWAY_CONFIG"):
        path = Path(named).expanduser()
        if not path.is_file():
            raise SettingsError(f"FAIRWAY_CONFIG names {path}, which is not a file.")
        return path
    home = environment.get("XDG_CONFIG_HOME")
    base = Path(home) if home else Path("~/.config").expanduser()
    return base / "fairway" / "config.toml"


def _from_file(sections: Mapping[str, type[Any]], path: Path) -> dict[str, dict[str, Any]]:
    if not path.is_file():
        return {}
    document = read_table(path)
    found: dict[str, dict[str, Any]] = {}
    for section, table in document.items():
        if section not in sections or not isinstance(table, dict):
            raise _unknown(f"[{section}]", (f"[{name}]" for name in sections), f"in {path}")
        fields = types_of(sections[section])
        for key, value in table.items():
            if key not in fields:
                raise _unknown(f"{section}.{key}", (f"{section}.{name}" for name in fields), f"in {path}")
            place = f"{section}.{key} in {path}"
            found.setdefault(section, {})[key] = _checked(sections[section], key, value, place)
    return found


def _from_environment(
    sections: Mapping[str, type[Any]], environment: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    known = {
        f"{PREFIX}{section}_{key}".upper(): (section, key)
        for section, cls in sections.items()
        for key in types_of(cls)
    }
    found: dict[str, dict[str, Any]] = {}
    for name, text in environment.items():
        if not name.startswith(PREFIX) or name.startswith(TEST_PREFIX) or name in STANDALONE:
            continue
        if name not in known:
            raise _unknown(name, [*known, *STANDALONE], "in the environment")
        section, key = known[name]
        value = _parse(types_of(sections[section])[key], text, name)
        found.setdefault(section, {})[key] = _checked(sections[section], key, value, name)
    return found


def _from_flags(cls: type[Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    fields = types_of(cls)
    given = {key: value for key, value in flags.items() if value is not None and value != ()}
    for key in given:
        if key not in fields:
            raise _unknown(flag_name(key), map(flag_name, fields), "on the command line")
    return {key: _checked(cls, key, value, flag_name(key)) for key, value in given.items()}


def flag_name(key: str) -> str:
    return "--" + key.replace("_", "-")


def types_of(cls: type[Any]) -> dict[str, Any]:
    """Field name -> type, `X | None` reduced to X."""
    hints = get_type_hints(cls)
    return {field.name: _without_none(hints[field.name]) for field in dataclasses.fields(cls)}


def _without_none(hint: Any) -> Any:  # noqa: ANN401
    members = [member for member in get_args(hint) if member is not type(None)]
    is_optional = type(None) in get_args(hint)
    return members[0] if is_optional and len(members) == 1 else hint


def _parse(hint: Any, text: str, place: str) -> Any:  # noqa: ANN401
    """An environment variable's text as the field's type."""
    if hint is bool:
        word = text.strip().lower()
        if word not in TRUE_WORDS | FALSE_WORDS:
            raise SettingsError(
                f"{place} is {text!r}, which is neither true nor false.", hint="Write 1 or 0."
            )
        return word in TRUE_WORDS
    if hint in (int, float):
        number: Callable[[str], int | float] = hint
        try:
            return number(text)
        except ValueError as error:
            raise SettingsError(f"{place} is {text!r}, which is not a number.") from error
    if get_origin(hint) is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text


def _checked(cls: type[Any], key: str, value: Any, place: str) -> Any:  # noqa: ANN401
    hint = types_of(cls)[key]
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise _unknown(repr(value), map(str, get_args(hint)), f"for {place}", what="value")
        return value
    if get_origin(hint) is tuple:
        value = (value,) if isinstance(value, str) else tuple(value)
    elif hint is float and type(value) is int:
        value = float(value)
    elif not _is_a(value, hint):
        raise SettingsError(f"{place} is {value!r}; it must be {_kind(hint)}.")
    _check_bounds(cls, key, value, place)
    return value


def _is_a(value: Any, hint: Any) -> bool:  # noqa: ANN401
    return not isinstance(hint, type) or (
        isinstance(value, hint) and (hint is bool or type(value) is not bool)
    )


def _kind(hint: Any) -> str:  # noqa: ANN401
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    return names.get(hint, str(hint))


def _check_bounds(cls: type[Any], key: str, value: Any, place: str) -> None:  # noqa: ANN401
    metadata = cls.__dataclass_fields__[key].metadata
    minimum, maximum = metadata.get("minimum"), metadata.get("maximum")
    if isinstance(value, float) and not math.isfinite(value):
        raise SettingsError(f"{place} is {value}; it must be a finite number.")
    if minimum is not None and value < minimum:
        raise SettingsError(f"{place} is {value}; the smallest that works is {minimum:g}.")
    if maximum is not None and value > maximum:
        raise SettingsError(f"{place} is {value}; the largest that works is {maximum:g}.")


def _unknown(name: str, known: Iterable[str], where: str, what: str = "setting") -> SettingsError:
    names = sorted(known)
    nearest = difflib.get_close_matches(name.strip("'"), names, n=1, cutoff=0.5)
    hint = f"Did you mean {nearest[0]}?" if nearest else f"There are: {', '.join(names)}."
    return SettingsError(f"Unknown {what} {name} {where}.", hint=hint)
