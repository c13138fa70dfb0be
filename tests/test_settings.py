"""Where a setting comes from, and what an impossible one says."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from fairway.errors import SettingsError
from fairway.settings import STANDALONE, config_path, load, setting


@dataclass(frozen=True)
class Harbour:
    port: int = setting(8000, "where ships land", minimum=0, maximum=65535)
    pilot: str | None = setting(None, "who steers")
    open: bool = setting(True, "whether ships may enter")
    depth: float = setting(4.5, "metres")
    flags: tuple[str, ...] = setting((), "flown at the mast")
    tide: Literal["low", "high"] = setting("low", "state of the water")


@dataclass(frozen=True)
class Ship:
    length: int = setting(30, "metres")


SECTIONS = {"harbour": Harbour, "ship": Ship}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def harbour(file: Path, environment: dict[str, str] | None = None, **flags) -> Harbour:
    return load(SECTIONS, Harbour, flags=flags, environment=environment or {}, file=file)


def test_defaults_without_anything(file):
    assert harbour(file) == Harbour()


def test_flag_beats_environment_beats_file(file):
    file.write_text("[harbour]\nport = 1\ndepth = 2\npilot = 'ann'\n")
    both = {"FAIRWAY_HARBOUR_PORT": "2", "FAIRWAY_HARBOUR_DEPTH": "3.5"}
    assert harbour(file) == Harbour(port=1, depth=2.0, pilot="ann")
    assert harbour(file, both) == Harbour(port=2, depth=3.5, pilot="ann")
    assert harbour(file, both, port=3) == Harbour(port=3, depth=3.5, pilot="ann")


def test_a_flag_that_is_not_given_changes_nothing(file):
    assert harbour(file, {"FAIRWAY_HARBOUR_FLAGS": "a, b"}, port=None, flags=()).flags == ("a", "b")


@pytest.mark.parametrize(
    ("text", "value"), [("1", True), ("yes", True), ("TRUE", True), ("0", False), ("off", False)]
)
def test_words_for_true_and_false(file, text, value):
    assert harbour(file, {"FAIRWAY_HARBOUR_OPEN": text}).open is value


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[harbor]\nport = 1", r"Unknown setting \[harbor\] in .* Did you mean \[harbour\]\?"),
        ("[harbour]\nprot = 1", r"Unknown setting harbour\.prot in .* Did you mean harbour\.port\?"),
        ("[ship]\nlenght = 1", r"Unknown setting ship\.lenght .* Did you mean ship\.length\?"),
        ("[harbour]\nport = 'x'", r"harbour\.port in .* is 'x'; it must be a whole number"),
        ("[harbour]\nport = true", r"must be a whole number"),
        ("[harbour]\nport = 70000", r"is 70000; the largest that works is 65535"),
        ("[harbour]\nport = -1", r"is -1; the smallest that works is 0"),
        ("[harbour]\ntide = 'hgih'", r"Unknown value 'hgih' for harbour\.tide .* Did you mean high\?"),
        ("port = 1", r"Unknown setting \[port\]"),
        ("[harbour", r"is not valid TOML"),
    ],
)
def test_mistakes_in_the_file_are_named(file, content, message):
    file.write_text(content)
    with pytest.raises(SettingsError, match=message):
        harbour(file)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("FAIRWAY_HARBOUR_PROT", "1", r"Unknown setting FAIRWAY_HARBOUR_PROT .*FAIRWAY_HARBOUR_PORT\?"),
        ("FAIRWAY_HARBOUR_PORT", "many", r"FAIRWAY_HARBOUR_PORT is 'many', which is not a number"),
        ("FAIRWAY_HARBOUR_OPEN", "perhaps", r"neither true nor false"),
        ("FAIRWAY_SHIP_WIDTH", "1", r"Unknown setting FAIRWAY_SHIP_WIDTH"),
    ],
)
def test_mistakes_in_the_environment_are_named(file, name, text, message):
    with pytest.raises(SettingsError, match=message):
        harbour(file, {name: text})


def test_other_variables_are_left_alone(file):
    assert harbour(file, {"FAIRWAY_DEBUG": "1", "FAIRWAY_TEST_SHARED": "x", "HOME": "/"}) == Harbour()


def test_an_impossible_flag_is_named_as_a_flag(file):
    with pytest.raises(SettingsError, match=r"--port is 70000; the largest that works is 65535"):
        harbour(file, port=70000)
    with pytest.raises(
        SettingsError, match=r"Unknown setting --prot on the command line. Did you mean --port"
    ):
        harbour(file, prot=1)


def test_where_the_file_is_looked_for(tmp_path):
    assert config_path({"XDG_CONFIG_HOME": "/x"}) == Path("/x/fairway/config.toml")
    assert config_path({}) == Path("~/.config/fairway/config.toml").expanduser()
    with pytest.raises(SettingsError, match="not a file"):
        config_path({"FAIRWAY_CONFIG": str(tmp_path / "absent.toml")})


def test_every_variable_that_the_source_reads_by_itself_is_known():
    source = Path(__file__).parents[1] / "src" / "fairway"
    read = re.compile(r"""environ(?:\.get\(|\[)["'](FAIRWAY_\w+)""")
    found = {name for path in source.rglob("*.py") for name in read.findall(path.read_text("utf-8"))}
    assert found <= STANDALONE
