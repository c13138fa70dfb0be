"""Rewards: the user's own functions, those that are here, and what is wrong with either."""

from pathlib import Path

import pytest

from fairway.errors import FairwayError, SettingsError
from fairway.tune.rewards import rewards_of

COLUMNS = {
    "prompts": [[{"role": "user", "content": "2 + 2?"}]] * 3,
    "completions": ["4", " 4\n", '{"sum": 4}'],
    "completion_ids": [[1], [1, 2], [1, 2, 3, 4, 5]],
    "references": ["4", "4", "4"],
    "level": [1, 2, 3],
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("exact_match", [1, 1, 0]),
        ("regex:^[0-9]$", [1, 0, 0]),
        (r"regex:\d:?\d?", [1, 1, 1]),
        ("json", [1, 1, 1]),
        ("length:2", [0.5, 1, 0]),
    ],
)
def test_built_in(name: str, expected: list[float]) -> None:
    [reward] = rewards_of([name])
    assert reward.of(COLUMNS) == expected


def test_a_function_of_the_users_file_gets_every_column(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "def worth(prompts, completions, completion_ids, references, level, **_):\n"
        "    return [len(each) * one for each, one in zip(completion_ids, level)]\n"
    )
    [reward] = rewards_of([f"{file}:worth"])
    assert (reward.name, reward.file) == ("worth", file)
    assert reward.of(COLUMNS) == [1, 4, 15]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("exact", "There is no reward 'exact'"),
        ("exact_match:no", "exact_match takes no 'no'"),
        ("regex:(", "is no regular expression"),
        ("regex:", "has no pattern"),
        ("length:many", "takes a number of tokens"),
        ("none.py:f", "There is no file none.py"),
        ("none.py", "There is no reward 'none.py'"),
    ],
)
def test_wrong_names(name: str, said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        rewards_of([name])
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def other(): ...", "has no function 'f'"),
        ("import nothing_like_this", "cannot be run: ModuleNotFoundError"),
        ("def f(:", "cannot be run: SyntaxError"),
    ],
)
def test_wrong_files(source: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(source)
    with pytest.raises(SettingsError) as raised:
        rewards_of([f"{tmp_path / 'mine.py'}:f"])
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 1 / 0", "The reward f failed with ZeroDivisionError"),
        ("return [1.0]", "has to give 3 numbers"),
        ("return [1.0, None, 2.0]", "has to give 3 numbers"),
        ("return [1.0, float('nan'), 2.0]", "has to give 3 numbers"),
    ],
)
def test_functions_that_fail(body: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(f"def f(**columns):\n    {body}\n")
    [reward] = rewards_of([f"{tmp_path / 'mine.py'}:f"])
    with pytest.raises(FairwayError) as raised:
        reward.of(COLUMNS)
    assert said in str(raised.value)
    assert "mine.py" in str(raised.value)
