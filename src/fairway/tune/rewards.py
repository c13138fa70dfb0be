"""Rewards: what an answer is worth, as a number from a function of the user's own file or one of a few here.

A function is called as TRL calls it, once for all answers of an update: `prompts`, `completions`,
`completion_ids`, `references` (the rows' own answers) and every column of the data, each a list, by keyword.
It returns a number per answer. The user names the file, so its code is run.
"""

from __future__ import annotations

import importlib.util
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from fairway.errors import FairwayError, SettingsError

Function: TypeAlias = Callable[..., Sequence[Any]]


@dataclass(frozen=True)
class Reward:
    """One reward by its name."""

    name: str
    function: Function
    file: Path | None = None
    """Where the user wrote it."""

    def of(self, columns: Mapping[str, Sequence[Any]]) -> list[float]:
        """Of every answer. Raises `FairwayError` for a function that fails or gives no numbers."""
        try:
            found = list(self.function(**columns))
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise FairwayError(f"The reward {self.name} failed with {what}.", hint=self._hint()) from error
        expected = len(columns["completions"])
        if len(found) != expected or not all(_is_number(each) for each in found):
            raise FairwayError(
                f"The reward {self.name} has to give {expected} numbers, one per completion.",
                hint=self._hint(),
            )
        return [float(each) for each in found]

    def _hint(self) -> str:
        return f"See {self.file}." if self.file else ""


def rewards_of(names: Sequence[str]) -> list[Reward]:
    """ "exact_match", "regex:PATTERN", "json", "length:TOKENS" or "FILE.py:FUNCTION" each."""
    return [_reward(name) for name in names]


def _reward(name: str) -> Reward:
    kind, _, value = name.partition(":")
    if kind in BUILT_IN:
        return Reward(name, BUILT_IN[kind](value))
    file, _, function = name.rpartition(":")
    if not file.endswith(".py") or not function:
        raise SettingsError(
            f"There is no reward {name!r}.", hint=f"Known are FILE.py:FUNCTION, {', '.join(SPELLED)}."
        )
    return Reward(function, _of_file(Path(file), function), Path(file))


def _of_file(path: Path, function: str) -> Function:
    if not path.is_file():
        raise SettingsError(f"There is no file {path} with a reward.", hint="Name it as FILE.py:FUNCTION.")
    spec = importlib.util.spec_from_file_location(f"fairway_reward_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SettingsError(f"{path} cannot be run: {type(error).__name__}: {error}.") from error
    found = getattr(module, function, None)
    if not callable(found):
        raise SettingsError(f"{path} has no function {function!r}.", hint="Name it as FILE.py:FUNCTION.")
    made: Function = found
    return made


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _exact_match(value: str) -> Function:
    """1 for the row's own answer, but for white space around it."""
    _refuse_value("exact_match", value)

    def reward(completions: Sequence[str], references: Sequence[str], **_: object) -> list[float]:
        return [
            float(said.strip() == wanted.strip())
            for said, wanted in zip(completions, references, strict=True)
        ]

    return reward


def _regex(value: str) -> Function:
    """1 where the pattern is found."""
    try:
        pattern = re.compile(value)
    except re.error as error:
        raise SettingsError(f"{value!r} is no regular expression: {error}.") from error
    if not value:
        raise SettingsError("The reward regex has no pattern.", hint="For example regex:^[0-9]+$.")

    def reward(completions: Sequence[str], **_: object) -> list[float]:
        return [float(bool(pattern.search(each))) for each in completions]

    return reward


def _json(value: str) -> Function:
    """1 for an answer that is JSON as a whole."""
    _refuse_value("json", value)

    def reward(completions: Sequence[str], **_: object) -> list[float]:
        return [float(_is_json(each)) for each in completions]

    return reward


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _length(value: str) -> Function:
    """1 for so many tokens, falling to 0 at none and at twice as many."""
    if not value.isdecimal() or int(value) == 0:
        raise SettingsError("The reward length takes a number of tokens.", hint="For example length:50.")
    wanted = int(value)

    def reward(completion_ids: Sequence[Sequence[int]], **_: object) -> list[float]:
        return [max(0.0, 1 - abs(len(each) - wanted) / wanted) for each in completion_ids]

    return reward


def _refuse_value(name: str, value: str) -> None:
    if value:
        raise SettingsError(f"The reward {name} takes no {value!r}.", hint=f"Say {name}.")


BUILT_IN: dict[str, Callable[[str], Function]] = {
    "exact_match": _exact_match,
    "regex": _regex,
    "json": _json,
    "length": _length,
}
SPELLED = ("exact_match", "regex:PATTERN", "json", "length:TOKENS")
